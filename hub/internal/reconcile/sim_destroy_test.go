package reconcile

import (
	"context"

	"pgregory.net/rapid"

	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// destroy burns a site down with all it holds, deletes it by force, and builds an empty one of the same name.
func (s *sim) destroy(t *rapid.T, store image.StoreID) {
	ctx := context.Background()
	was := s.stores[store].online
	s.connect(store, false)
	if _, err := s.catalog.ForceDeleteSite(ctx, image.SiteID(store), rapid.Bool().Draw(t, "last copies too")); err != nil {
		s.connect(store, was)
		return
	}
	if rapid.Bool().Draw(t, "planned meanwhile") {
		for _, id := range s.images {
			s.plan(id)
		}
	}
	for _, id := range s.images {
		if r, _ := s.records.Replica(id, store); r != nil {
			t.Fatalf("left behind: %v", r)
		}
	}
	s.stores[store].copies, s.stores[store].observed = map[image.ID]*simCopy{}, map[image.ID]*agentv1.ObservedReplica{}
	s.build(t, store)
}
