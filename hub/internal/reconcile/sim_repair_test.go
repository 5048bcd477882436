package reconcile

import (
	"context"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/image"
)

// TestRepairsConverge damages copies of an image that is everywhere, while sites go and come and copies are cloned, deleted and
// asked for; then it lets everything come to rest.
func TestRepairsConverge(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := newSim(t)
		id := s.createImage(t)
		op, err := s.upload(id, catalog.Target{All: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.arrive(op); err != nil {
			t.Fatal(err)
		}
		s.settle()
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			s.harm(t, id, rapid.SampledFrom(s.storeIDs()).Draw(t, "store"))
			s.plan(id)
			s.checkSafety(t)
		}
		s.rest(t)
	})
}

// harm does one random thing that has to do with damage.
func (s *sim) harm(t *rapid.T, id image.ID, store image.StoreID) {
	ctx := context.Background()
	c := s.copyOf(store, id)
	switch rapid.IntRange(0, 14).Draw(t, "action") {
	case 0:
		c.damaged = c.damaged || c.published != ""
	case 1:
		_, _ = s.catalog.VerifyReplica(ctx, id, store)
	case 2:
		s.connect(store, rapid.Bool().Draw(t, "online"))
	case 3:
		if c.published != "" {
			c.clones = rapid.IntRange(0, 1).Draw(t, "clones")
		}
	case 4:
		_, _ = s.catalog.RetryReplica(ctx, id, store)
	case 5:
		s.agent(store, id, rapid.SampledFrom([]string{"NO_SPACE", "STORE_UNREACHABLE"}).Draw(t, "fault"))
	case 6:
		s.now = s.now.Add(time.Duration(rapid.IntRange(0, 100).Draw(t, "hours")) * time.Hour)
		s.scrubs.look(ctx)
	case 7:
		s.broken = rapid.Bool().Draw(t, "broken")
	case 8:
		s.restart()
	case 9:
		_, _ = s.catalog.DeleteReplica(ctx, id, store)
	case 10:
		_, _ = s.catalog.Replicate(ctx, id, catalog.Target{All: true}, "")
	default:
		s.agent(store, id, "")
	}
}
