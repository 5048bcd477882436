package replica

import (
	"context"
	"slices"
	"testing"

	"pgregory.net/rapid"

	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// TestQueue compares the queue with the rule that it follows: of those in line the first move, by rank, then by when they
// came or were raised; as many as the site may, or else as each store may.
func TestQueue(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const parallel = 2
		stores := []*store{{}, {}}
		q := &queue{parallel: parallel}
		type entry struct {
			*ticket
			rank int
		}
		var line []entry // the last to come or to be raised is last
		limit := 0
		t.Repeat(map[string]func(*rapid.T){
			"enter": func(t *rapid.T) {
				r := rapid.IntRange(-1, 1).Draw(t, "rank")
				line = append(line, entry{q.enter(stores[rapid.IntRange(0, 1).Draw(t, "store")], r), r})
			},
			"leave": func(t *rapid.T) {
				if len(line) > 0 {
					i := rapid.IntRange(0, len(line)-1).Draw(t, "which")
					line[i].leave()
					line = slices.Delete(line, i, i+1)
				}
			},
			"raise": func(t *rapid.T) {
				if len(line) == 0 {
					return
				}
				i, r := rapid.IntRange(0, len(line)-1).Draw(t, "which"), rapid.IntRange(-1, 1).Draw(t, "rank")
				e := line[i]
				if e.raise(r); r != e.rank {
					e.rank = r
					line = append(slices.Delete(line, i, i+1), e)
				}
			},
			"restrict": func(t *rapid.T) {
				limit = rapid.IntRange(-1, 4).Draw(t, "limit")
				q.restrict(limit)
			},
			"": func(t *rapid.T) {
				all, of := 0, map[*store]int{}
				for _, rank := range []int{1, 0, -1} {
					for _, e := range line {
						if e.rank != rank {
							continue
						}
						want := limit > 0 && all < limit || limit <= 0 && of[e.store] < parallel
						if want {
							all++
							of[e.store]++
						}
						ctx, cancel := context.WithCancel(context.Background())
						held := false
						err := e.wait(ctx, func() { held = true; cancel() })
						cancel()
						if e.has() != want || held == want || (err == nil) != want {
							t.Fatalf("has a place: %v, held %v, %v; want a place: %v", e.has(), held, err, want)
						}
					}
				}
			},
		})
	})
}

// TestTurns: a fill that loses its place to one with a higher priority, or to a lower limit, says so, fetches nothing more,
// and goes on where it was.
func TestTurns(t *testing.T) {
	for name, lose := range map[string]func(s *site, second *agentv1.DesiredReplica){
		"priority": func(s *site, second *agentv1.DesiredReplica) {
			s.parallel = 1
			s.begin()
			s.delta(goalOf(goalPresent, 1, conA))
			s.until("the first has the place", func() bool { signal(s.m.changed); return s.m.queue.length() == 1 })
			s.delta(second)
			s.until("the second is queued", func() bool { return queued(s.view[string(img2)+"@"+st0]) })
			second.Priority = agentv1.Priority_PRIORITY_HIGH // what is raised goes on without beginning anew
			s.delta(second)
		},
		"limit": func(s *site, second *agentv1.DesiredReplica) {
			s.begin()
			second.Priority = agentv1.Priority_PRIORITY_HIGH
			s.delta(goalOf(goalPresent, 1, conA))
			s.delta(second)
			s.until("both have a place", func() bool { signal(s.m.changed); return s.m.queue.length() == 2 })
			s.rev++
			s.m.Apply(&agentv1.Desired{Revision: s.rev, ParallelTransfers: 1})
		},
	} {
		t.Run(name, func(t *testing.T) {
			hub := newFakeHub(t)
			a, b := hub.begin(conA, pattern(51, "dddp")), hub.begin(conB, pattern(52, "dp"))
			s := newSite(t, hub)
			second := goalOf(goalPresent, 1, conB)
			second.ImageId = string(img2)
			hub.change(func() { a.shown = 1 })
			lose(s, second)
			hub.change(func() { a.shown, a.complete = len(a.man.Chunks), true })
			s.until("the first is queued", func() bool { return queued(s.view[string(img1)+"@"+st0]) })
			before := hub.fetched(a)
			hub.change(func() { b.shown, b.complete = len(b.man.Chunks), true })
			s.awaitOf(img2, st0, isPresent, 1)
			if before > 2 { // what was under way
				t.Errorf("%d chunks were fetched before the place was lost", before)
			}
			r := s.await(isPresent, 1)
			if r.Failure != nil || hub.fetched(a) != 4 {
				t.Errorf("%d chunks fetched for 4, %v", hub.fetched(a), r.Failure)
			}
			s.holds(a)
			holds(t, s.raw(st0), img2, b)
		})
	}
}

func (q *queue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.line)
}

func queued(r *agentv1.ObservedReplica) bool {
	return r.GetState() == isFilling && r.GetFailure().GetReason() == "QUEUED"
}

// TestQueuedUnderWay: a fill without a place says so also while the hub keeps it waiting for what it has asked for before.
func TestQueuedUnderWay(t *testing.T) {
	hub := newFakeHub(t)
	a, b := hub.begin(conA, pattern(51, "dddp")), hub.begin(conB, pattern(52, "dp"))
	hub.change(func() { a.missing, a.shown, a.complete = map[int]bool{0: true}, len(a.man.Chunks), true })
	s := newSite(t, hub)
	s.parallel = 1
	s.begin()
	asked := func(times int) func() bool {
		return func() bool {
			signal(s.m.changed)
			hub.mu.Lock()
			defer hub.mu.Unlock()
			return len(a.demanded) >= times
		}
	}
	s.delta(goalOf(goalPresent, 1, conA))
	s.until("the first waits for the hub", asked(1))
	second := goalOf(goalPresent, 1, conB)
	second.ImageId, second.Priority = string(img2), agentv1.Priority_PRIORITY_HIGH
	s.delta(second)
	first := func() *agentv1.ObservedReplica { return s.view[string(img1)+"@"+st0] }
	s.until("the first is queued", func() bool { return queued(first()) })
	hub.mu.Lock()
	before := len(a.demanded)
	hub.mu.Unlock()
	s.until("the hub has been asked twice more", asked(before+2))
	if !queued(first()) {
		t.Errorf("the first: %v", first())
	}
	hub.change(func() { a.missing[0], b.shown, b.complete = false, len(b.man.Chunks), true })
	s.awaitOf(img2, st0, isPresent, 1)
	if r := s.await(isPresent, 1); r.Failure != nil {
		t.Errorf("the first is there: %v", r.Failure)
	}
	s.holds(a)
}
