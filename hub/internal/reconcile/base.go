package reconcile

import (
	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// likeness is how sure it is that one image is like another; 0: not at all.
type likeness int

const (
	unlike     likeness = iota
	sameSystem          // the same os_distro
	sameRelease
	sameName
	named // by image.PropertyBase
)

// chooseBase returns the image with a published copy in a store that is most probably like img, the newest of several: the
// one that its property names, else an earlier one of the same name, else one of the same system. Only images of the same
// project count, and public ones. It looks at every image.
func chooseBase(records catalog.Reader, img *storev1.Image, store image.StoreID) *storev1.Image {
	var best *storev1.Image
	var most likeness
	for _, other := range records.Images() {
		like := alike(img, other)
		if like == unlike || like < most || like == most && !newer(other, best) {
			continue
		}
		r, _ := records.Replica(image.ID(other.Id), store)
		if r.GetPhase() == storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE && r.Removal == storev1.Removal_REMOVAL_UNSPECIFIED &&
			r.ContentId == other.Content.Id {
			best, most = other, like
		}
	}
	return best
}

func newer(a, b *storev1.Image) bool {
	return a.CreateTime.AsTime().After(b.CreateTime.AsTime())
}

// alike says how probably other is like img.
func alike(img, other *storev1.Image) likeness {
	switch {
	case other.Id == img.Id || other.Status != storev1.ImageStatus_IMAGE_STATUS_ACTIVE || !other.Content.GetComplete() || other.Content.Id == "":
		return unlike
	case img.Owner != other.Owner && other.Visibility != storev1.Visibility_VISIBILITY_PUBLIC:
		return unlike
	case img.Properties[image.PropertyBase] != "":
		if img.Properties[image.PropertyBase] == other.Id {
			return named
		}
		return unlike
	case img.Name != "" && img.Name == other.Name:
		return sameName
	case !same(img, other, "os_distro"):
		return unlike
	case same(img, other, "os_version"):
		return sameRelease
	default:
		return sameSystem
	}
}

func same(a, b *storev1.Image, property string) bool {
	return a.Properties[property] != "" && a.Properties[property] == b.Properties[property]
}
