package etcdstore

import (
	"strings"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
)

// keyspace lays out the keys below a prefix:
//
//	PREFIX/v1/images/ID            records
//	PREFIX/v1/replicas/IMAGE/STORE
//	PREFIX/v1/operations/ID
//	PREFIX/v1/sites/ID
//	PREFIX/v1/stores/ID
//	PREFIX/v1/hubs/hub             what holds for all hubs together
//	PREFIX/leader/LEASE            candidates of the election, the oldest leads
//	PREFIX/agreed/NAME             what all hubs must agree on, such as the CA
//	PREFIX/commits/HUB/LIFE/N      receipts: what the latest commit through slot N wrote
//
// All of it is watched, so that every commit is seen as an event.
type keyspace string

func (k keyspace) root() string    { return string(k) + "/" }
func (k keyspace) records() string { return string(k) + "/v1/" }
func (k keyspace) leader() string  { return string(k) + "/leader/" }
func (k keyspace) agreed() string  { return string(k) + "/agreed/" }
func (k keyspace) commits() string { return string(k) + "/commits/" }

var folders = map[catalog.Kind]string{
	catalog.KindImage:     "images",
	catalog.KindReplica:   "replicas",
	catalog.KindOperation: "operations",
	catalog.KindSite:      "sites",
	catalog.KindStore:     "stores",
	catalog.KindHub:       "hubs",
}

// encode returns the etcd key of a record.
func (k keyspace) encode(key catalog.Key) (string, error) {
	folder, ok := folders[key.Kind]
	if !ok {
		return "", fault.New(fault.Invalid, "INVALID_KEY", "the record has no known kind")
	}
	parts := []string{key.ID}
	if key.Kind == catalog.KindReplica {
		parts = []string{string(key.Image), string(key.Store)}
	}
	for _, p := range parts {
		if p == "" || strings.Contains(p, "/") {
			return "", fault.New(fault.Invalid, "INVALID_KEY", "the record has no valid name")
		}
	}
	return k.records() + folder + "/" + strings.Join(parts, "/"), nil
}

// decode is the reverse of encode. Keys of other kinds, which a newer version may have written, are not ok.
func (k keyspace) decode(key string) (_ catalog.Key, ok bool) {
	rest, ok := strings.CutPrefix(key, k.records())
	if !ok {
		return catalog.Key{}, false
	}
	parts := strings.Split(rest, "/")
	for kind, folder := range folders {
		switch {
		case folder != parts[0]:
		case kind == catalog.KindReplica && len(parts) == 3:
			return catalog.Key{Kind: kind, Image: image.ID(parts[1]), Store: image.StoreID(parts[2])}, true
		case kind != catalog.KindReplica && len(parts) == 2:
			return catalog.Key{Kind: kind, ID: parts[1]}, true
		}
	}
	return catalog.Key{}, false
}
