package replica

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// crashes runs a scenario once to count its calls to the pool, then once for each call with the process dying at that
// call, before or after it took effect, and beginning anew.
func crashes(t *testing.T, scenario func(t *testing.T, at int, late bool) int) {
	t.Helper()
	n := scenario(t, 0, false)
	if n < 5 {
		t.Fatalf("the scenario makes %d calls", n)
	}
	for at := 1; at <= n; at++ {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("call%d-late-%v", at, late), func(t *testing.T) { scenario(t, at, late) })
		}
	}
	t.Logf("died at each of %d calls, twice", n)
}

// die runs the site until it dies, or until done returns when at is 0. It returns the number of calls.
func (s *site) die(at int, late bool, goals []*agentv1.DesiredReplica, done func()) int {
	var (
		m     *mortal
		files saved
	)
	s.wrap = func(_ image.StoreID, p rbd.Pool) rbd.Pool {
		m = newMortal(p, at, late, func() { files = save(s.t, s.journal) })
		return m
	}
	s.begin()
	s.snapshot(goals...)
	if at == 0 {
		done()
	} else {
		select {
		case <-m.dead:
		case <-time.After(patience):
			s.t.Fatalf("the process still lives after %d calls", m.count())
		}
	}
	s.stop()
	s.wrap = nil
	if at != 0 {
		files.restore(s.t, s.journal)
	}
	return m.count()
}

// However the process dies, nothing incomplete is ever visible, the copy is finished afterwards, and of the chunks at
// most the one that was under way is sent twice.
func TestCrashAtEveryCallOfAFill(t *testing.T) {
	crashes(t, func(t *testing.T, at int, late bool) int {
		t.Helper()
		hub := newFakeHub(t)
		c := hub.add(conA, pattern(20, "hzhhp"))
		c.codec = frame.Zstd
		s := newSite(t, hub)
		s.workers = 1
		d := goalOf(goalPresent, 1, conA)
		n := s.die(at, late, []*agentv1.DesiredReplica{d}, func() { s.await(isPresent, 1) })
		if _, err := s.raw(st0).Open(t.Context(), string(img1)); err == nil {
			s.holds(c)
		} else if !fault.Is(err, fault.NotFound) {
			t.Fatal(err)
		}
		s.begin()
		s.snapshot(d)
		s.await(isPresent, 1)
		s.holds(c)
		s.tidy(string(img1))
		if extra := hub.fetched(c) - 4; extra > 1 {
			t.Errorf("%d chunks were sent twice", extra)
		}
		return n
	})
}

// The same when the hidden image was begun for another content.
func TestCrashAtEveryCallOfATakeover(t *testing.T) {
	if testing.Short() {
		t.Skip("the same machine as a fill")
	}
	crashes(t, func(t *testing.T, at int, late bool) int {
		t.Helper()
		hub := newFakeHub(t)
		old := hub.begin(conA, pattern(21, "hhh"))
		old.codec = frame.Zstd
		hub.change(func() { old.shown = 3 })
		s := newSite(t, hub)
		s.workers = 1
		s.begin()
		s.snapshot(goalOf(goalPresent, 1, conA))
		s.until("all chunks", func() bool { return s.view[string(img1)+"@"+st0].GetProgress().GetChunksContiguous() == 3 })
		s.stop()
		data := append([]byte(nil), old.data[:len(old.data)-5000]...)
		clear(data[:4<<20])
		data[5<<20]++
		c := hub.add(conB, data)
		c.codec = frame.Zstd
		d := goalOf(goalPresent, 2, conB)
		n := s.die(at, late, []*agentv1.DesiredReplica{d}, func() { s.await(isPresent, 2) })
		s.begin()
		s.snapshot(d)
		s.await(isPresent, 2)
		s.holds(c)
		s.tidy(string(img1))
		return n
	})
}

// A removal that dies anywhere is carried out by the next process, and a copy with clones survives all of it.
func TestCrashAtEveryCallOfARemoval(t *testing.T) {
	for _, goal := range []agentv1.Goal{goalCondemned, goalAbsent} {
		for _, cloned := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v-cloned-%v", goal, cloned), func(t *testing.T) {
				crashes(t, func(t *testing.T, at int, late bool) int {
					t.Helper()
					hub := newFakeHub(t)
					c := hub.add(conA, pattern(22, "p"))
					s := newSite(t, hub).begin()
					s.snapshot(goalOf(goalPresent, 1, conA))
					s.await(isPresent, 1)
					s.stop()
					want := map[agentv1.Goal]agentv1.ReplicaState{goalCondemned: isCondemned, goalAbsent: isAbsent}[goal]
					if cloned {
						s.clone(string(img1))
						want = inUse
					}
					d := goalOf(goal, 2, conA)
					n := s.die(at, late, []*agentv1.DesiredReplica{d}, func() { s.await(want, 2) })
					s.begin()
					s.snapshot(d)
					s.await(want, 2)
					switch {
					case cloned:
						s.holds(c)
						s.tidy(string(img1))
					case goal == goalCondemned:
						s.tidy(condemnedName(img1))
					default:
						s.tidy("")
					}
					return n
				})
			})
		}
	}
}

// clone makes something depend on an image, as filerbd defines it.
func (s *site) clone(name string) (remove func()) {
	s.t.Helper()
	f := filepath.Join(s.dirs[st0], name, "children", "overlay")
	if err := os.MkdirAll(filepath.Dir(f), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(f, nil, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return func() { _ = os.Remove(f) }
}

// partial returns a site that died after it had written all chunks but the last one.
func partial(t *testing.T, hub *fakeHub, c *fakeContent) *site {
	t.Helper()
	hub.change(func() { c.shown, c.complete = len(c.man.Chunks)-1, false })
	s := newSite(t, hub).begin()
	s.snapshot(goalOf(goalPresent, 1, conA))
	s.until("all chunks but one", func() bool {
		return s.view[string(img1)+"@"+st0].GetProgress().GetChunksContiguous() == int64(len(c.man.Chunks)-1)
	})
	s.stop()
	hub.change(func() { c.shown, c.complete = len(c.man.Chunks), true })
	return s
}

func TestResumesFromTheImageWhenTheJournalIsLost(t *testing.T) {
	hub := newFakeHub(t)
	c := hub.add(conA, pattern(23, "dzddp"))
	s := partial(t, hub, c)
	saved{}.restore(t, s.journal)
	s.begin()
	s.snapshot(c.describe(goalOf(goalPresent, 1, conA)))
	r := s.await(isPresent, 1)
	s.holds(c)
	if n := hub.fetched(c); n != 4 {
		t.Errorf("%d chunks sent, 4 hold data", n)
	}
	if r.Progress.BytesResumed != 3*(4<<20) {
		t.Errorf("progress %v", r.Progress)
	}
}

// A journal that tells of data the hidden image does not hold is not believed.
func TestJournalWithoutItsImage(t *testing.T) {
	hub := newFakeHub(t)
	c := hub.add(conA, pattern(24, "ddp"))
	s := partial(t, hub, c)
	if err := s.raw(st0).Remove(t.Context(), hiddenName(img1)); err != nil {
		t.Fatal(err)
	}
	s.begin()
	s.snapshot(goalOf(goalPresent, 1, conA))
	s.await(isPresent, 1)
	s.holds(c)
	if n := c.served[0]; n != 2 {
		t.Errorf("first chunk was sent %d times", n)
	}
}

// Whatever happens to the journal, the copy comes out right and no chunk that is there is sent again.
func TestJournalDamagedAnywhere(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 20 {
		t.Run("", func(t *testing.T) {
			hub := newFakeHub(t)
			c := hub.add(conA, pattern(25, "hhp"))
			c.codec = frame.Zstd
			s := partial(t, hub, c)
			for name, b := range save(t, s.journal) {
				if b = b[:rnd.IntN(len(b)+1)]; len(b) > 0 {
					b[rnd.IntN(len(b))] ^= byte(rnd.UintN(256))
				}
				saved{name: b}.restore(t, s.journal)
			}
			s.begin()
			s.snapshot(goalOf(goalPresent, 1, conA))
			s.await(isPresent, 1)
			s.holds(c)
			if n := hub.fetched(c); n != 3 {
				t.Errorf("%d chunks sent, 3 hold data", n)
			}
		})
	}
}
