package replica

import (
	"testing"

	"github.com/atoll-dcn/atoll/agent/internal/rbd/rbdtest"
	"github.com/atoll-dcn/atoll/pkg/fault"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

func TestStoreHealth(t *testing.T) {
	s := newSite(t, newFakeHub(t)).begin()
	var last *agentv1.StoreStatus
	until := func(what string, ok func() bool) {
		t.Helper()
		s.until(what, func() bool { last = s.m.Stores()[0]; return ok() })
	}
	until("healthy", func() bool { return last.Healthy })
	if last.Fsid == "" || last.Driver != "file" || last.TotalBytes == 0 || last.Message != "" {
		t.Errorf("status %v", last)
	}
	s.pools[st0].Fail(rbdtest.OpInfo, 100_000, fault.New(fault.Precondition, "POOL_MISSING", "the pool does not exist"))
	until("unhealthy", func() bool { return !last.Healthy })
	if last.Message != "the pool does not exist" || last.Fsid == "" {
		t.Errorf("status %v", last)
	}
	s.pools[st0].Clear()
	until("healthy again", func() bool { return last.Healthy })
}

// A store that does not answer blocks neither the caller nor another store, and a new goal still gets through to it.
func TestStuckStore(t *testing.T) {
	hub := newFakeHub(t)
	c := hub.add(conA, pattern(50, "dp"))
	s := newSite(t, hub, st0, st1).begin()
	gates := []*rbdtest.Gate{
		s.pools[st0].Block(rbdtest.OpWriteAt), s.pools[st0].Block(rbdtest.OpWriteAt), s.pools[st0].Block(rbdtest.OpWriteAt),
	}
	defer func() {
		for _, g := range gates {
			g.Release()
		}
	}()
	other := goalOf(goalPresent, 1, conA)
	other.StoreId = st1
	s.delta(goalOf(goalPresent, 1, conA))
	s.entered(gates[0])
	s.delta(other)
	s.awaitOf(img1, st1, isPresent, 1)
	holds(t, s.raw(st1), img1, c)
	if got := s.m.Snapshot(); len(got.Replicas) != 2 || len(got.Stores) != 2 {
		t.Errorf("snapshot %v", got)
	}
	s.delta(goalOf(goalAbsent, 2, conA))
	s.await(isAbsent, 2)
	s.tidy("")
}

// No more fills than allowed write at once in one store; those that wait are reported as being filled.
func TestParallelFills(t *testing.T) {
	hub := newFakeHub(t)
	a, b := hub.begin(conA, pattern(51, "dp")), hub.add(conB, pattern(52, "dp"))
	s := newSite(t, hub)
	s.parallel = 1
	s.begin()
	s.delta(goalOf(goalPresent, 1, conA))
	s.until("the first has the slot", func() bool { signal(s.m.changed); return s.m.queue.length() == 1 })
	second := goalOf(goalPresent, 1, conB)
	second.ImageId = string(img2)
	s.delta(second)
	r := s.awaitOf(img2, st0, isFilling, 1)
	if r.Progress.GetBytesDone() != 0 {
		t.Errorf("progress %v", r.Progress)
	}
	hub.change(func() { a.shown, a.complete = 2, true })
	s.awaitOf(img2, st0, isPresent, 1)
	s.await(isPresent, 1)
	s.holds(a)
	holds(t, s.raw(st0), img2, b)
}
