package replica

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/atoll-dcn/atoll/pkg/fault"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// queue says which fills may move chunks. The ones with the highest priority are first, and among equals those that came
// first. Without a limit of the site each store has places of its own, so that none waits for another; with one they share
// it. A fill that has lost its place, because the limit is lower now or another has been put before it, ends the chunks that
// it has begun and keeps everything open until it has a place again.
type queue struct {
	parallel int // places of a store without a limit of the site

	mu    sync.Mutex
	limit int // places of the site; 0: no limit
	came  uint64
	line  []*ticket // who wants a place, the first first
}

// ticket is the wish of one fill for a place.
type ticket struct {
	queue *queue
	store *store

	// Guarded by queue.mu.
	rank   int
	number uint64        // in the order of coming
	moving bool          // has a place
	placed chan struct{} // closed while moving
}

// rankOf orders priorities; the highest is first.
func rankOf(p agentv1.Priority) int {
	switch p {
	case agentv1.Priority_PRIORITY_LOW:
		return -1
	case agentv1.Priority_PRIORITY_HIGH:
		return 1
	default:
		return 0
	}
}

// errQueued is why a fill without a place waits.
var errQueued = fault.New(fault.Unavailable, "QUEUED", "waiting for its turn: the site fills as many other copies as it may")

// enter puts a fill in line. The caller calls leave.
func (q *queue) enter(s *store, rank int) *ticket {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.came++
	t := &ticket{queue: q, store: s, rank: rank, number: q.came, placed: make(chan struct{})}
	q.line = append(q.line, t)
	q.arrangeLocked()
	return t
}

// leave takes a fill out of line.
func (t *ticket) leave() {
	t.queue.mu.Lock()
	defer t.queue.mu.Unlock()
	t.queue.line = slices.DeleteFunc(t.queue.line, func(o *ticket) bool { return o == t })
	t.queue.arrangeLocked()
}

// restrict changes the number of places of the site; 0 for no limit.
func (q *queue) restrict(limit int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if limit = max(limit, 0); limit != q.limit {
		q.limit = limit
		q.arrangeLocked()
	}
}

// raise changes the rank of a fill. It goes behind those that have that rank already.
func (t *ticket) raise(rank int) {
	t.queue.mu.Lock()
	defer t.queue.mu.Unlock()
	if rank != t.rank {
		t.queue.came++
		t.rank, t.number = rank, t.queue.came
		t.queue.arrangeLocked()
	}
}

// arrangeLocked gives places to the first in line and takes them from the others.
func (q *queue) arrangeLocked() {
	slices.SortFunc(q.line, func(a, b *ticket) int {
		return cmp.Or(cmp.Compare(b.rank, a.rank), cmp.Compare(a.number, b.number))
	})
	taken, all := map[*store]int{}, 0
	for _, t := range q.line {
		place := taken[t.store] < q.parallel
		if q.limit > 0 {
			place = all < q.limit
		}
		if place {
			taken[t.store]++
			all++
		}
		t.moveLocked(place)
	}
}

func (t *ticket) moveLocked(place bool) {
	switch {
	case place && !t.moving:
		close(t.placed)
	case !place && t.moving:
		t.placed = make(chan struct{})
	}
	t.moving = place
}

// has reports whether the fill has a place.
func (t *ticket) has() bool {
	t.queue.mu.Lock()
	defer t.queue.mu.Unlock()
	return t.moving
}

// wait blocks until the fill has a place or ctx ends. held is called first if it has none.
func (t *ticket) wait(ctx context.Context, held func()) error {
	t.queue.mu.Lock()
	moving, placed := t.moving, t.placed
	t.queue.mu.Unlock()
	if moving {
		return nil
	}
	held()
	for {
		select {
		case <-placed:
		case <-ctx.Done():
			return ctx.Err()
		}
		t.queue.mu.Lock()
		moving, placed = t.moving, t.placed
		t.queue.mu.Unlock()
		if moving {
			return nil
		}
	}
}
