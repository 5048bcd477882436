package replica

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/agent/internal/rbd/rbdtest"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
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

// handles counts the snapshots that are open.
type handles struct {
	rbd.Pool
	open *atomic.Int64
}

func (h handles) OpenSnapshot(ctx context.Context, name string) (rbd.Snapshot, error) {
	snap, err := h.Pool.OpenSnapshot(ctx, name)
	if err != nil {
		return nil, err
	}
	h.open.Add(1)
	return &handle{snap, sync.OnceFunc(func() { h.open.Add(-1) })}, nil
}

type handle struct {
	rbd.Snapshot
	closed func()
}

func (h *handle) Close() error {
	defer h.closed()
	return h.Snapshot.Close()
}

// One site offers its copy, another one fills from it through the hub.
func TestOffer(t *testing.T) {
	a, c := published(t, "dzdhp")
	a.stop()
	var open atomic.Int64
	a.wrap = func(_ image.StoreID, p rbd.Pool) rbd.Pool { return handles{p, &open} }
	a.begin()
	a.snapshot(c.describe(goalOf(goalPresent, 1, conA)))
	a.await(isPresent, 1)
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
	a.until("the offer has ended", func() bool { signal(a.m.changed); return open.Load() == 0 })
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

// lost makes the hub forget a content, manifest and all.
func (h *fakeHub) lost(c *fakeContent) {
	h.change(func() {
		delete(h.contents, conA)
		h.awaited[conA] = manifest.End{Length: c.man.Length, Root: c.root}
	})
}

func (s *site) offerManifest(c *fakeContent) {
	list := offerOf(c)
	list[0].Manifest = true
	s.rev++
	s.m.Apply(&agentv1.Desired{Revision: s.rev, Offers: list})
}

// A hub that has lost a manifest gets it again from a copy.
func TestOfferOfAManifest(t *testing.T) {
	a, c := published(t, "dzdhp")
	a.hub.lost(c)
	a.pools[st0].Fail(rbdtest.OpReadAt, 1, fault.New(fault.Unavailable, "STORE_UNREACHABLE", "down"))
	a.offerManifest(c)
	deadline := time.After(patience)
	for a.hub.manifestOf(conA) == nil {
		select {
		case <-time.After(time.Millisecond):
		case <-deadline:
			t.Fatal("the manifest was not sent")
		}
	}
	if m := a.hub.manifestOf(conA); m.Length != c.man.Length || !slices.Equal(m.Chunks, c.man.Chunks) {
		t.Errorf("sent %v", m)
	}
}

// The manifest of a damaged copy would make the damage the truth.
func TestNoManifestOfADamagedCopy(t *testing.T) {
	a, c := published(t, "dp")
	a.spoil(5)
	a.hub.lost(c)
	a.registry = prometheus.NewRegistry()
	a.stop()
	a.begin()
	a.snapshot(c.describe(goalOf(goalPresent, 2, conA)))
	a.await(isPresent, 2)
	a.offerManifest(c)
	damaged := a.m.metrics.corrupt.WithLabelValues(st0, whereAtRest)
	deadline := time.After(patience)
	for {
		var m dto.Metric
		if err := damaged.Write(&m); err != nil {
			t.Fatal(err)
		}
		if m.GetCounter().GetValue() > 0 {
			break
		}
		select {
		case <-time.After(time.Millisecond):
		case <-deadline:
			t.Fatal("the damage was not noticed")
		}
	}
	if a.hub.manifestOf(conA) != nil {
		t.Error("sent all the same")
	}
}
