package cephrbd

import (
	"fmt"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// The image features that Atoll supports, with the numbers of Ceph's on-disk format.
const (
	Layering      uint64 = 1 << 0
	ExclusiveLock uint64 = 1 << 2
	ObjectMap     uint64 = 1 << 3
	FastDiff      uint64 = 1 << 4
	DeepFlatten   uint64 = 1 << 5

	// DefaultFeatures are those of Ceph itself. Object map and fast diff make deletion and Extents fast.
	DefaultFeatures = Layering | ExclusiveLock | ObjectMap | FastDiff | DeepFlatten
)

var featureNames = map[string]uint64{
	"layering": Layering, "exclusive-lock": ExclusiveLock, "object-map": ObjectMap, "fast-diff": FastDiff, "deep-flatten": DeepFlatten,
}

// ParseFeatures turns feature names as the rbd command knows them into Config.Features; no names yield DefaultFeatures.
// Errors are Invalid and name the field.
func ParseFeatures(field string, names []string) (uint64, error) {
	if len(names) == 0 {
		return DefaultFeatures, nil
	}
	var features uint64
	for i, name := range names {
		bit, ok := featureNames[name]
		if !ok {
			return 0, fault.BadField(fmt.Sprintf("%s[%d]", field, i),
				"%q is not one of layering, exclusive-lock, object-map, fast-diff and deep-flatten", name)
		}
		features |= bit
	}
	return features, checkFeatures(features)
}

// checkFeatures refuses sets that librbd refuses at every creation, and sets without which nothing can boot.
func checkFeatures(f uint64) error {
	switch {
	case f&^DefaultFeatures != 0:
		return fault.BadField("features", "%#x has features that Atoll does not know", f)
	case f&Layering == 0:
		return fault.BadField("features", "layering is needed for copy-on-write clones")
	case f&ObjectMap != 0 && f&ExclusiveLock == 0:
		return fault.BadField("features", "object-map needs exclusive-lock")
	case f&FastDiff != 0 && f&ObjectMap == 0:
		return fault.BadField("features", "fast-diff needs object-map")
	}
	return nil
}
