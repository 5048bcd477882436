package etcdstore

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Image returns an image and its revision, nil and 0 when there is none.
func (s *Store) Image(id image.ID) (*storev1.Image, int64) {
	return one[*storev1.Image](s.cache, catalog.ImageKey(id))
}

// Replica returns a replica and its revision, nil and 0 when there is none.
func (s *Store) Replica(id image.ID, store image.StoreID) (*storev1.Replica, int64) {
	return one[*storev1.Replica](s.cache, catalog.ReplicaKey(id, store))
}

// Operation returns an operation and its revision, nil and 0 when there is none.
func (s *Store) Operation(id image.ID) (*storev1.Operation, int64) {
	return one[*storev1.Operation](s.cache, catalog.OperationKey(id))
}

// Site returns a site and its revision, nil and 0 when there is none.
func (s *Store) Site(id image.SiteID) (*storev1.Site, int64) {
	return one[*storev1.Site](s.cache, catalog.SiteKey(id))
}

// Store returns a store and its revision, nil and 0 when there is none.
func (s *Store) Store(id image.StoreID) (*storev1.Store, int64) {
	return one[*storev1.Store](s.cache, catalog.StoreKey(id))
}

// Hub returns what holds for all hubs together and its revision, nil and 0 when nothing was set.
func (s *Store) Hub() (*storev1.Hub, int64) {
	return one[*storev1.Hub](s.cache, catalog.HubKey())
}

// Images returns all images, newest first; of the same age, ids ascend.
func (s *Store) Images() []*storev1.Image {
	images := kind[*storev1.Image](s.cache, catalog.KindImage)
	slices.Reverse(images)
	return images
}

// Replicas returns the replicas of an image, sorted by store, with their revisions.
func (s *Store) Replicas(id image.ID) ([]*storev1.Replica, []int64) {
	s.cache.mu.RLock()
	defer s.cache.mu.RUnlock()
	list := s.cache.state.replicas[id]
	return messages[*storev1.Replica](list), revisions(list)
}

// StoreReplicas returns the replicas in a store, sorted by image.
func (s *Store) StoreReplicas(store image.StoreID) []*storev1.Replica {
	s.cache.mu.RLock()
	defer s.cache.mu.RUnlock()
	return messages[*storev1.Replica](s.cache.state.stores[store])
}

// Operations returns all operations, newest first; of the same age, ids ascend.
func (s *Store) Operations() []*storev1.Operation {
	ops := kind[*storev1.Operation](s.cache, catalog.KindOperation)
	slices.Reverse(ops)
	return ops
}

// ImageOperations returns the operations of an image that are not done, oldest first, with their revisions.
func (s *Store) ImageOperations(id image.ID) ([]*storev1.Operation, []int64) {
	s.cache.mu.RLock()
	defer s.cache.mu.RUnlock()
	list := s.cache.state.running[id]
	return messages[*storev1.Operation](list), revisions(list)
}

// Sites returns all sites, sorted by id.
func (s *Store) Sites() []*storev1.Site {
	return kind[*storev1.Site](s.cache, catalog.KindSite)
}

// Stores returns all stores, sorted by id.
func (s *Store) Stores() []*storev1.Store {
	return kind[*storev1.Store](s.cache, catalog.KindStore)
}

func one[M proto.Message](c *cache, k catalog.Key) (msg M, rev int64) {
	if r := c.record(k); r != nil {
		msg, _ = r.msg.(M) // decodeRecord made it of its kind's type
		return msg, r.rev
	}
	return msg, 0
}

func kind[M proto.Message](c *cache, k catalog.Kind) []M {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return messages[M](c.state.kinds[k])
}

func messages[M proto.Message](list []*record) []M {
	out := make([]M, len(list))
	for i, r := range list {
		out[i], _ = r.msg.(M)
	}
	return out
}

func revisions(list []*record) []int64 {
	out := make([]int64, len(list))
	for i, r := range list {
		out[i] = r.rev
	}
	return out
}
