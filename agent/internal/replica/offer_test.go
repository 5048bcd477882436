package replica

import (
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/agent/internal/rbd/rbdtest"
	"github.com/atoll-dcn/atoll/pkg/fault"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

func offerOf(c *fakeContent) []*agentv1.Offer {
	return []*agentv1.Offer{{
		ImageId: string(img1), StoreId: st0,
		Content: &agentv1.Content{ContentId: string(conA), SizeBytes: c.man.Length, ManifestDigest: c.root[:]},
	}}
}

// emptied makes the hub forget the frames of a content, as staging does when it needs the space.
func (h *fakeHub) emptied(c *fakeContent) {
	h.change(func() {
		for i, d := range c.man.Chunks {
			c.missing[i] = !d.IsZero()
		}
	})
}

// One site offers its copy, another one fills from it through the hub.
func TestOffer(t *testing.T) {
	a, c := published(t, "dzdhp")
	a.hub.emptied(c)
	b := newSite(t, a.hub).begin()
	b.delta(c.describe(goalOf(goalPresent, 1, conA)))
	b.until("the wait for chunks is reported", func() bool {
		return b.view[string(img1)+"@"+st0].GetFailure().GetReason() == "FRAME_PENDING"
	})
	a.rev++
	a.m.Apply(&agentv1.Desired{Revision: a.rev, Offers: offerOf(c)})
	b.await(isPresent, 1)
	b.holds(c)

	// No longer listed, it sends nothing.
	a.rev++
	a.m.Apply(&agentv1.Desired{Revision: a.rev})
	a.hub.emptied(c)
	a.hub.change(func() { c.demanded = []int{0} })
	reads := a.pools[st0].Calls(rbdtest.OpReadAt)
	third := newSite(t, a.hub).begin()
	third.delta(c.describe(goalOf(goalPresent, 1, conA)))
	third.until("the wait for chunks is reported", func() bool {
		return third.view[string(img1)+"@"+st0].GetFailure().GetReason() == "FRAME_PENDING"
	})
	if n := a.pools[st0].Calls(rbdtest.OpReadAt); n != reads {
		t.Errorf("%d reads by an offer that is not listed", n-reads)
	}
}

// An offer outlives the errors of the hub and of the store.
func TestOfferRetries(t *testing.T) {
	a, c := published(t, "dp")
	a.hub.emptied(c)
	a.pools[st0].Fail(rbdtest.OpOpenSnapshot, 1, fault.New(fault.Unavailable, "STORE_UNREACHABLE", "down"))
	a.pools[st0].Fail(rbdtest.OpReadAt, 2, fault.New(fault.Unavailable, "STORE_UNREACHABLE", "down"))
	a.hub.change(func() { a.hub.down = true })
	a.rev++
	a.m.Apply(&agentv1.Desired{Revision: a.rev, Offers: offerOf(c)})
	b := newSite(t, a.hub).begin()
	b.delta(c.describe(goalOf(goalPresent, 1, conA)))
	b.until("the hub is down", func() bool {
		return b.view[string(img1)+"@"+st0].GetFailure().GetReason() == "HUB_DOWN"
	})
	a.hub.change(func() { a.hub.down = false })
	b.await(isPresent, 1)
	b.holds(c)
}

// A copy that is damaged at rest cannot poison the hub, and the offer goes on with what is sound.
func TestOfferOfADamagedCopy(t *testing.T) {
	a, c := published(t, "dp")
	a.spoil(5)
	a.hub.emptied(c)
	a.hub.change(func() { c.demanded = []int{0, 1, 0, 1} })
	a.rev++
	a.m.Apply(&agentv1.Desired{Revision: a.rev, Offers: offerOf(c)})
	deadline := time.After(patience)
	for {
		a.hub.mu.Lock()
		sound, changed := !c.missing[1] && c.missing[0], a.hub.changed
		a.hub.mu.Unlock()
		if sound {
			break
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatal("the sound chunk was not sent")
		}
	}
}
