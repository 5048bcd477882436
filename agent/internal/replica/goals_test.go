package replica

import (
	"slices"
	"testing"

	"github.com/atoll-dcn/atoll/agent/internal/rbd/rbdtest"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// published returns a site with a published copy of img1 at generation 1.
func published(t *testing.T, layout string) (*site, *fakeContent) {
	t.Helper()
	hub := newFakeHub(t)
	c := hub.add(conA, pattern(40, layout))
	s := newSite(t, hub).begin()
	s.snapshot(c.describe(goalOf(goalPresent, 1, conA)))
	s.await(isPresent, 1)
	return s, c
}

func TestCondemnAndBringBack(t *testing.T) {
	s, c := published(t, "p")
	s.delta(goalOf(goalCondemned, 2, conA))
	s.await(isCondemned, 2)
	s.tidy(condemnedName(img1))
	fetched := s.hub.fetched(c)
	s.delta(goalOf(goalPresent, 3, conA))
	s.await(isPresent, 3)
	s.holds(c)
	s.tidy(string(img1))
	if s.hub.fetched(c) != fetched {
		t.Error("a copy that was only out of sight was written again")
	}
	s.delta(goalOf(goalCondemned, 4, conA))
	s.await(isCondemned, 4)
	s.delta(goalOf(goalAbsent, 5, conA))
	s.await(isAbsent, 5)
	s.tidy("")
}

func TestCondemnInUse(t *testing.T) {
	s, c := published(t, "p")
	remove := s.clone(string(img1))
	s.delta(goalOf(goalCondemned, 2, conA))
	if r := s.await(inUse, 2); r.Failure.GetReason() != "IN_USE" {
		t.Errorf("reported %v", r)
	}
	s.holds(c)
	s.delta(goalOf(goalAbsent, 3, conA))
	s.await(inUse, 3)
	s.holds(c)
	remove() // the agent looks again by itself
	s.await(isAbsent, 3)
	s.tidy("")
}

// A clone that appears between the look and the rename keeps the copy.
func TestCloneAppearsDuringCondemn(t *testing.T) {
	s, c := published(t, "p")
	s.pools[st0].Before(rbdtest.OpRename, func(name string) {
		if name == string(img1) {
			s.clone(name)
		}
	})
	s.delta(goalOf(goalCondemned, 2, conA))
	s.await(inUse, 2)
	s.holds(c)
	s.tidy(string(img1))
}

func TestCondemnWithoutAPublishedCopy(t *testing.T) {
	hub := newFakeHub(t)
	s := newSite(t, hub).begin()
	s.snapshot(goalOf(goalCondemned, 1, conA))
	s.await(isAbsent, 1)
	c := hub.begin(conA, pattern(41, "dd"))
	hub.change(func() { c.shown = 1 })
	s.delta(goalOf(goalPresent, 2, conA))
	s.until("first chunk", func() bool { return s.view[string(img1)+"@"+st0].GetProgress().GetChunksContiguous() == 1 })
	s.delta(goalOf(goalCondemned, 3, conA))
	s.await(isCondemned, 3)
	s.delta(goalOf(goalAbsent, 4, conA))
	s.await(isAbsent, 4)
	s.tidy("")
}

// An image of the same name that is not ours is neither replaced nor touched.
func TestForeignImage(t *testing.T) {
	hub := newFakeHub(t)
	c := hub.add(conA, pattern(42, "p"))
	s := newSite(t, hub).begin()
	img, err := s.raw(st0).Create(t.Context(), string(img1), 100)
	if err != nil {
		t.Fatal(err)
	}
	_ = img.Close()
	s.delta(goalOf(goalPresent, 1, conA))
	if r := s.await(isFailed, 1); r.Failure.Reason != "NAME_TAKEN" || r.Failure.Retryable {
		t.Errorf("failure %v", r.Failure)
	}
	for g, goal := range []agentv1.Goal{goalCondemned, goalAbsent} {
		s.delta(goalOf(goal, uint64(2+g), conA))
		s.await(isAbsent, uint64(2+g))
		if got := s.names(); got != string(img1) {
			t.Fatalf("images: %q", got)
		}
	}
	if hub.fetched(c) > 0 {
		t.Error("chunks were fetched for a name that is taken")
	}
}

func TestOtherContentIsPublished(t *testing.T) {
	s, c := published(t, "p")
	s.hub.add(conB, pattern(43, "p"))
	s.delta(goalOf(goalPresent, 2, conB))
	if r := s.await(isFailed, 2); r.Failure.Reason != "NAME_TAKEN" || r.Failure.Retryable {
		t.Errorf("failure %v", r.Failure)
	}
	s.holds(c)
	other := goalOf(goalPresent, 3, conA)
	other.Content.ManifestDigest = make([]byte, 32)
	other.Content.ManifestDigest[3] = 1
	s.delta(other)
	if r := s.await(isFailed, 3); r.Failure.Reason != "CONTENT_DIFFERS" || r.Failure.Retryable {
		t.Errorf("failure %v", r.Failure)
	}
}

// A condemned copy that was replaced by another content goes when its successor is condemned.
func TestOlderCondemnedCopyMakesRoom(t *testing.T) {
	s, _ := published(t, "p")
	s.delta(goalOf(goalCondemned, 2, conA))
	s.await(isCondemned, 2)
	c := s.hub.add(conB, pattern(44, "p"))
	s.delta(goalOf(goalPresent, 3, conB))
	s.await(isPresent, 3)
	s.holds(c)
	s.delta(goalOf(goalCondemned, 4, conB))
	s.await(isCondemned, 4)
	s.tidy(condemnedName(img1))
	s.delta(goalOf(goalPresent, 5, conB))
	s.await(isPresent, 5)
	s.holds(c)
}

func TestUnprotectedAndSnapshotless(t *testing.T) {
	s, c := published(t, "p")
	img, err := s.raw(st0).Open(t.Context(), string(img1))
	if err != nil {
		t.Fatal(err)
	}
	if err := img.RemoveSnapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.delta(goalOf(goalPresent, 2, conA))
	if r := s.await(isFailed, 2); r.Failure.Reason != "SNAPSHOT_MISSING" || r.Failure.Retryable {
		t.Errorf("failure %v", r.Failure)
	}
	if err := img.CreateSnapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = img.Close()
	s.delta(goalOf(goalPresent, 3, conA))
	s.await(isPresent, 3)
	s.holds(c) // protected again
}

func TestHoldKeepsEverything(t *testing.T) {
	hub := newFakeHub(t)
	c := hub.begin(conA, pattern(45, "ddp"))
	hub.change(func() { c.shown = 2 })
	s := newSite(t, hub).begin()
	s.delta(goalOf(goalPresent, 1, conA))
	s.until("two chunks", func() bool { return s.view[string(img1)+"@"+st0].GetProgress().GetChunksContiguous() == 2 })
	s.delta(goalOf(goalHold, 2, conA))
	s.until("the worker stops", func() bool {
		s.m.mu.Lock()
		defer s.m.mu.Unlock()
		r := s.m.replicas[key{Store: st0, Image: img1}]
		if r.running {
			signal(s.m.changed)
		}
		return !r.running
	})
	if got := s.names(); got != hiddenName(img1) {
		t.Errorf("images: %q", got)
	}
	hub.change(func() { c.shown, c.complete = 3, true })
	s.delta(goalOf(goalPresent, 3, conA))
	s.await(isPresent, 3)
	s.holds(c)
	if n := hub.fetched(c); n != 3 {
		t.Errorf("%d chunks sent", n)
	}
}

// A removed key loses what is unpublished of it and nothing else.
func TestRemovedKeys(t *testing.T) {
	s, c := published(t, "p")
	half := s.hub.begin(conB, pattern(46, "dd"))
	s.hub.change(func() { half.shown = 1 })
	second := goalOf(goalPresent, 1, conB)
	second.ImageId = string(img2)
	s.delta(second)
	s.until("first chunk", func() bool { return s.view[string(img2)+"@"+st0].GetProgress().GetChunksContiguous() == 1 })
	s.rev++
	s.m.Apply(&agentv1.Desired{Revision: s.rev, Removed: []*agentv1.ReplicaKey{
		{ImageId: string(img1), StoreId: st0}, {ImageId: string(img2), StoreId: st0}, {ImageId: "no uuid", StoreId: st0},
	}})
	s.gone()
	s.holds(c)
	s.tidy(string(img1))
}

// gone waits until no replica is known any more.
func (s *site) gone() {
	s.t.Helper()
	s.until("nothing is known", func() bool {
		s.m.mu.Lock()
		defer s.m.mu.Unlock()
		for _, r := range s.m.replicas {
			if r.state != isCondemned || r.running {
				signal(s.m.changed)
				return false
			}
		}
		return true
	})
}

// After a complete snapshot, and only then, hidden images that nobody wants go; condemned ones are reported.
func TestGarbage(t *testing.T) {
	hub := newFakeHub(t)
	c := hub.begin(conA, pattern(47, "dd"))
	hub.change(func() { c.shown = 1 })
	s := newSite(t, hub).begin()
	s.snapshot(goalOf(goalPresent, 1, conA))
	s.until("first chunk", func() bool { return s.view[string(img1)+"@"+st0].GetProgress().GetChunksContiguous() == 1 })
	s.stop()
	pool := s.raw(st0)
	for _, n := range []string{condemnedName(img2), "somebody-elses", "atoll.not-a-uuid"} {
		img, err := pool.Create(t.Context(), n, 10)
		if err != nil {
			t.Fatal(err)
		}
		_ = img.Close()
	}
	s.begin()
	s.m.Apply(&agentv1.Desired{Revision: 1, Snapshot: true, More: true})
	s.m.Offline()
	if list, _ := pool.List(t.Context()); !slices.Contains(list, hiddenName(img1)) {
		t.Fatal("data was removed before the snapshot was complete")
	}
	s.snapshot()
	s.awaitOf(img2, st0, isCondemned, 0)
	s.gone()
	s.until("the hidden image is gone", func() bool {
		list, _ := pool.List(t.Context())
		signal(s.m.changed)
		return !slices.Contains(list, hiddenName(img1))
	})
	s.until("journals are gone", func() bool {
		signal(s.m.changed)
		return len(save(t, s.journal)) == 0
	})
	list, err := pool.List(t.Context())
	slices.Sort(list)
	if want := []string{condemnedName(img2), "atoll.not-a-uuid", "somebody-elses"}; err != nil || !slices.Equal(list, want) {
		t.Errorf("images %v, %v", list, err)
	}
	snap := s.m.Snapshot()
	if len(snap.Replicas) != 1 || snap.Replicas[0].State != isCondemned || snap.Replicas[0].ImageId != string(img2) {
		t.Errorf("snapshot %v", snap)
	}
	d := goalOf(goalAbsent, 1, conA)
	d.ImageId = string(img2)
	s.delta(d)
	s.awaitOf(img2, st0, isAbsent, 1)
}

// Goals that follow each other while a fill runs: the latest wins whatever was under way.
func TestGenerationsRace(t *testing.T) {
	hub := newFakeHub(t)
	c := hub.add(conA, pattern(48, "hhhp"))
	s := newSite(t, hub).begin()
	generation := uint64(0)
	for round := range 15 {
		for range 1 + round%3 {
			generation++
			s.delta(goalOf([]agentv1.Goal{goalPresent, goalCondemned, goalPresent, goalAbsent, goalHold}[generation%5], generation, conA))
		}
		generation++
		s.delta(c.describe(goalOf(goalPresent, generation, conA)))
		s.await(isPresent, generation)
		s.holds(c)
		s.tidy(string(img1))
		generation++
		s.delta(goalOf(goalAbsent, generation, conA))
		s.await(isAbsent, generation)
		s.tidy("")
	}
}

// A removal waits for a dead agent's watch to end.
func TestRemovalWaitsForWatchers(t *testing.T) {
	s, _ := published(t, "p")
	s.pools[st0].Fail(rbdtest.OpRemove, 5, fault.New(fault.Precondition, "IN_USE", "it has watchers"))
	s.delta(goalOf(goalAbsent, 2, conA))
	s.await(isAbsent, 2)
	s.tidy("")
	if n := s.pools[st0].Queued(); n > 0 {
		t.Errorf("%d faults not used", n)
	}
}

func TestUnknownStore(t *testing.T) {
	s := newSite(t, newFakeHub(t)).begin()
	for g, goal := range []agentv1.Goal{goalPresent, goalAbsent, goalCondemned} {
		d := goalOf(goal, uint64(g+1), conA)
		d.StoreId = "elsewhere"
		s.delta(d)
		if r := s.awaitOf(img1, "elsewhere", isFailed, uint64(g+1)); r.Failure.Reason != "STORE_UNKNOWN" {
			t.Errorf("failure %v", r.Failure)
		}
	}
	s.snapshot()
	s.gone()
}

func TestNamesOfUnpublishedImages(t *testing.T) {
	for name, want := range map[string]image.ID{
		hiddenName(img1): img1, condemnedName(img2): img2,
		string(img1): "", "atoll.": "", "atoll.x": "", "atoll-condemned.atoll." + string(img1): "", "": "",
	} {
		if got, ok := unpublished(name); got != want && ok || ok != (want != "") {
			t.Errorf("%q: %q %v", name, got, ok)
		}
	}
}
