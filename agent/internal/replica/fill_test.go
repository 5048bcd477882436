package replica

import (
	"slices"
	"testing"

	"github.com/atoll-dcn/atoll/agent/internal/rbd/rbdtest"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

func TestFillsAndPublishes(t *testing.T) {
	for _, layout := range []string{"d", "p", "z", "zzzz", "dzhdp", "zdzzzp", "hhz"} {
		t.Run(layout, func(t *testing.T) {
			hub := newFakeHub(t)
			c := hub.add(conA, pattern(1, layout))
			s := newSite(t, hub).begin()
			s.snapshot(c.describe(goalOf(goalPresent, 7, conA)))
			r := s.await(isPresent, 7)
			s.holds(c)
			s.tidy(string(img1))
			p := r.Progress
			if p.BytesDone != c.man.Length || p.BytesTotal != c.man.Length || p.ChunksContiguous != int64(len(c.man.Chunks)) {
				t.Errorf("progress at the end: %v", p)
			}
			if data := c.man.DataBytes(); p.BytesReceived < data || p.BytesReceived > data+1000 || p.BytesResumed != 0 {
				t.Errorf("received %d, resumed %d of %d bytes of data", p.BytesReceived, p.BytesResumed, data)
			}
			if r.ContentId != string(conA) || r.Verification == nil || r.Verification.ChunksDamaged != 0 {
				t.Errorf("reported %v", r)
			}
		})
	}
}

// While the snapshot is read back the copy is reported as such and not visible.
func TestVerifyingIsReported(t *testing.T) {
	hub := newFakeHub(t)
	c := hub.add(conA, pattern(1, "p"))
	s := newSite(t, hub).begin()
	gate := s.pools[st0].Block(rbdtest.OpSum)
	s.delta(goalOf(goalPresent, 1, conA))
	s.entered(gate)
	s.await(isVerifying, 1)
	if got := s.names(); got != hiddenName(img1) {
		t.Errorf("images: %q", got)
	}
	gate.Release()
	s.await(isPresent, 1)
	s.holds(c)
}

func TestFillsOfUnknownLength(t *testing.T) {
	hub := newFakeHub(t)
	c := hub.add(conA, pattern(2, "ddp"))
	for _, hint := range []int64{0, 1, manifest.ChunkSize, 100 * manifest.ChunkSize} {
		s := newSite(t, hub).begin()
		d := goalOf(goalPresent, 1, conA)
		d.Content.SizeBytes = hint
		s.delta(d)
		s.await(isPresent, 1)
		s.holds(c)
		s.stop()
	}
}

// A site writes chunks while the content still arrives at the hub, and publishes only when all is there.
func TestCutThrough(t *testing.T) {
	hub := newFakeHub(t)
	c := hub.begin(conA, pattern(3, "dzdp"))
	s := newSite(t, hub).begin()
	s.delta(goalOf(goalPresent, 1, conA))
	for shown := 1; shown <= len(c.man.Chunks); shown++ {
		hub.change(func() { c.shown = shown })
		s.until("chunks that arrived are written", func() bool {
			return s.view[string(img1)+"@"+st0].GetProgress().GetChunksContiguous() == int64(shown)
		})
		if got := s.names(); got != hiddenName(img1) {
			t.Fatalf("images while the content arrives: %q", got)
		}
	}
	hub.change(func() { c.complete = true })
	r := s.await(isPresent, 1)
	s.holds(c)
	if r.Progress.BytesTotal != c.man.Length {
		t.Errorf("progress at the end: %v", r.Progress)
	}
}

func TestSecondLookDoesNothing(t *testing.T) {
	hub := newFakeHub(t)
	c := hub.add(conA, pattern(4, "dp"))
	s := newSite(t, hub).begin()
	s.snapshot(c.describe(goalOf(goalPresent, 1, conA)))
	s.await(isPresent, 1)
	s.stop()
	fetched := hub.fetched(c)
	s.begin()
	s.snapshot(c.describe(goalOf(goalPresent, 2, conA)))
	s.await(isPresent, 2)
	for _, op := range []rbdtest.Op{rbdtest.OpWriteAt, rbdtest.OpCreate, rbdtest.OpSetMeta, rbdtest.OpRename, rbdtest.OpCreateSnapshot} {
		if n := s.pools[st0].Calls(op); n > 0 {
			t.Errorf("%d calls of %s for a copy that is there", n, op)
		}
	}
	if hub.fetched(c) != fetched {
		t.Error("chunks of a copy that is there were fetched")
	}
	if slices.Contains(s.seen, isFilling) {
		t.Error("a copy that is there was reported as being filled")
	}
}

func TestCorruptFrameIsFetchedAgain(t *testing.T) {
	hub := newFakeHub(t)
	c := hub.add(conA, pattern(5, "ddp"))
	c.damage[1] = 2
	s := newSite(t, hub).begin()
	s.delta(goalOf(goalPresent, 1, conA))
	r := s.await(isPresent, 1)
	s.holds(c)
	if r.Progress.ChunksRepaired != 2 || c.verified != 2 {
		t.Errorf("repaired %d chunks, asked the hub to check %d times", r.Progress.ChunksRepaired, c.verified)
	}
}

func TestFrameThatStaysCorruptFails(t *testing.T) {
	hub := newFakeHub(t)
	c := hub.add(conA, pattern(5, "dd"))
	c.damage[1] = 1000
	s := newSite(t, hub).begin()
	s.delta(goalOf(goalPresent, 1, conA))
	r := s.await(isFailed, 1)
	if r.Failure.Reason != "CORRUPT" || !r.Failure.Retryable {
		t.Errorf("failure %v", r.Failure)
	}
	if got := s.names(); got != hiddenName(img1) {
		t.Errorf("images: %q", got)
	}
	hub.change(func() { c.damage[1] = 0 })
	s.delta(goalOf(goalPresent, 2, conA))
	s.await(isPresent, 2)
	s.holds(c)
}

func TestWrongRootIsRefused(t *testing.T) {
	hub := newFakeHub(t)
	c := hub.add(conA, pattern(6, "dp"))
	s := newSite(t, hub).begin()
	d := c.describe(goalOf(goalPresent, 1, conA))
	d.Content.ManifestDigest = make([]byte, manifest.DigestSize)
	d.Content.ManifestDigest[0] = 1
	s.delta(d)
	if r := s.await(isFailed, 1); r.Failure.Reason != "BAD_MANIFEST" || !r.Failure.Retryable {
		t.Errorf("failure %v", r.Failure)
	}
}

// A dead hub is not a failure: the fill waits, says for what, and goes on.
func TestWaitsForTheHub(t *testing.T) {
	hub := newFakeHub(t)
	c := hub.add(conA, pattern(7, "ddp"))
	hub.change(func() { hub.down = true })
	s := newSite(t, hub).begin()
	s.delta(goalOf(goalPresent, 1, conA))
	s.until("the wait is reported", func() bool {
		r := s.view[string(img1)+"@"+st0]
		return r.GetState() == isFilling && r.GetFailure().GetReason() == "HUB_DOWN"
	})
	hub.change(func() { hub.down = false })
	if r := s.await(isPresent, 1); r.Failure != nil {
		t.Errorf("failure after success: %v", r.Failure)
	}
	s.holds(c)
}

// Content that is gone stops the fill without a failure; when the hub says more of the goal the site looks again.
func TestContentGone(t *testing.T) {
	hub := newFakeHub(t)
	c := hub.begin(conA, pattern(8, "ddp"))
	hub.change(func() { c.shown = 1 })
	s := newSite(t, hub).begin()
	s.delta(goalOf(goalPresent, 1, conA))
	s.until("first chunk", func() bool { return s.view[string(img1)+"@"+st0].GetProgress().GetChunksContiguous() == 1 })
	hub.change(func() { c.gone = true })
	s.until("the wait is reported", func() bool {
		r := s.view[string(img1)+"@"+st0]
		return r.State == isFilling && r.GetFailure().GetReason() == manifest.ReasonGone
	})
	hub.change(func() { c.gone, c.complete, c.shown = false, true, len(c.man.Chunks) })
	s.delta(c.describe(goalOf(goalPresent, 1, conA)))
	s.await(isPresent, 1)
	s.holds(c)
	if n := c.served[0]; n != 1 {
		t.Errorf("first chunk was fetched %d times", n)
	}
}

// An import that begins anew has another content id; chunks that are the same are not sent again.
func TestNewContentTakesOverTheHiddenImage(t *testing.T) {
	hub := newFakeHub(t)
	old := hub.begin(conA, pattern(9, "dddddd"))
	hub.change(func() { old.shown = 6 })
	s := newSite(t, hub).begin()
	s.delta(goalOf(goalPresent, 1, conA))
	s.until("all chunks", func() bool { return s.view[string(img1)+"@"+st0].GetProgress().GetChunksContiguous() == 6 })
	data := slices.Clone(old.data[:5*manifest.ChunkSize-7])
	clear(data[manifest.ChunkSize : 2*manifest.ChunkSize])
	data[3*manifest.ChunkSize]++
	c := hub.add(conB, data)
	s.delta(c.describe(goalOf(goalPresent, 2, conB)))
	r := s.await(isPresent, 2)
	s.holds(c)
	if n := hub.fetched(c); n != 1 { // the last chunk is shorter now, but its bytes are there
		t.Errorf("%d chunks fetched, one differs", n)
	}
	if r.Progress.BytesResumed != 3*manifest.ChunkSize-7 {
		t.Errorf("progress %v", r.Progress)
	}
}

func TestStoreFailures(t *testing.T) {
	for _, tc := range []struct {
		op        rbdtest.Op
		err       error
		reason    string
		retryable bool
	}{
		{rbdtest.OpWriteAt, fault.New(fault.Exhausted, "NO_SPACE", "full"), "NO_SPACE", false},
		{rbdtest.OpOpen, fault.New(fault.Precondition, "POOL_MISSING", "no pool"), "POOL_MISSING", false},
		{rbdtest.OpCreate, fault.New(fault.Denied, "NO_ACCESS", "key"), "NO_ACCESS", false},
		{rbdtest.OpFlush, fault.New(fault.Unavailable, "STORE_UNREACHABLE", "down"), "STORE_UNREACHABLE", true},
		{rbdtest.OpSum, fault.New(fault.Internal, "EIO", "secret"), "STORE_ERROR", true},
		{rbdtest.OpExtents, fault.New(fault.Unavailable, "STORE_UNREACHABLE", "down"), "STORE_UNREACHABLE", true},
		{rbdtest.OpCreateSnapshot, fault.New(fault.Unavailable, "STORE_UNREACHABLE", "down"), "STORE_UNREACHABLE", true},
		{rbdtest.OpRename, fault.New(fault.Unavailable, "STORE_UNREACHABLE", "down"), "STORE_UNREACHABLE", true},
	} {
		t.Run(string(tc.op), func(t *testing.T) {
			hub := newFakeHub(t)
			c := hub.add(conA, pattern(10, "dp"))
			s := newSite(t, hub).begin()
			s.pools[st0].Fail(tc.op, 1, tc.err)
			s.delta(goalOf(goalPresent, 1, conA))
			r := s.await(isFailed, 1)
			if r.Failure.Reason != tc.reason || r.Failure.Retryable != tc.retryable {
				t.Errorf("failure %v", r.Failure)
			}
			s.delta(goalOf(goalPresent, 2, conA))
			s.await(isPresent, 2)
			s.holds(c)
			s.tidy(string(img1))
		})
	}
}

// What takes effect although the answer is lost must not hurt.
func TestLostAnswers(t *testing.T) {
	down := fault.New(fault.Unavailable, "STORE_UNREACHABLE", "down")
	for _, op := range []rbdtest.Op{
		rbdtest.OpCreate, rbdtest.OpSetMeta, rbdtest.OpWriteAt, rbdtest.OpResize, rbdtest.OpCreateSnapshot,
		rbdtest.OpProtectSnapshot, rbdtest.OpRename,
	} {
		t.Run(string(op), func(t *testing.T) {
			hub := newFakeHub(t)
			c := hub.add(conA, pattern(11, "dp"))
			s := newSite(t, hub).begin()
			s.pools[st0].FailAfter(op, 1, down)
			s.delta(goalOf(goalPresent, 1, conA))
			s.await(isFailed, 1)
			s.delta(goalOf(goalPresent, 2, conA))
			s.await(isPresent, 2)
			s.holds(c)
			s.tidy(string(img1))
		})
	}
}
