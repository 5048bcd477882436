package replica

import (
	"container/heap"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-dcn/atoll/agent/internal/rbd/rbdtest"
)

// simOSDs is a store in simulated time: writes wait for one of some servers, each of which needs service for one. What tenants
// do makes them slower.
type simOSDs struct {
	service time.Duration
	free    []time.Time // per server: when it has done what it has
	noise   *rand.Rand
}

func newSimOSDs(servers int, service time.Duration) *simOSDs {
	return &simOSDs{service: service, free: make([]time.Time, servers), noise: rand.New(rand.NewPCG(1, 2))}
}

// write returns when a write that begins now ends.
func (s *simOSDs) write(now time.Time) time.Time {
	best := s.noise.IntN(len(s.free)) // placement is by hash: writes meet
	begin := now
	if s.free[best].After(begin) {
		begin = s.free[best]
	}
	s.free[best] = begin.Add(time.Duration(float64(s.service) * (0.8 + 0.4*s.noise.Float64())))
	return s.free[best]
}

type simWrite struct {
	begun, ends time.Time
	window      int
}

type simQueue []simWrite

func (q simQueue) Len() int           { return len(q) }
func (q simQueue) Less(i, j int) bool { return q[i].ends.Before(q[j].ends) }
func (q simQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *simQueue) Push(x any)        { *q = append(*q, x.(simWrite)) } //nolint:forcetypeassert,errcheck // only used below
func (q *simQueue) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}

// simCopy is a copy whose link brings a write's worth of bytes each arrival, 0: there are always more.
type simCopy struct {
	g       *governor
	osds    *simOSDs
	now     time.Time
	running simQueue
	arrival time.Duration
	next    time.Time
	done    int
}

// run copies for a while and returns the writes per second and the mean depth.
func (c *simCopy) run(span time.Duration) (rate, depth float64) {
	end := c.now.Add(span)
	done, began := c.done, c.now
	var area float64
	for c.now.Before(end) {
		ready := c.arrival == 0 || !c.next.After(c.now)
		switch {
		case ready && len(c.running) < c.g.limit:
			window := c.g.begin(len(c.running) + 1)
			heap.Push(&c.running, simWrite{begun: c.now, ends: c.osds.write(c.now), window: window})
			c.next = c.next.Add(c.arrival)
			if c.next.Before(c.now.Add(-time.Second)) {
				c.next = c.now // buffers are bounded
			}
			continue
		case ready:
			c.g.want()
		}
		was := c.now
		if len(c.running) > 0 && (ready || !c.running[0].ends.After(c.next)) {
			w := heap.Pop(&c.running).(simWrite) //nolint:forcetypeassert,errcheck // see Push
			c.now = w.ends
			c.done++
			c.g.end(c.now, w.window, w.ends.Sub(w.begun))
		} else {
			c.now = c.next
		}
		area += float64(c.g.depth()) * c.now.Sub(was).Seconds()
	}
	took := c.now.Sub(began).Seconds()
	return float64(c.done-done) / took, area / took
}

func newSimCopy(osds *simOSDs, most int) *simCopy {
	start := time.Unix(1_000_000_000, 0)
	return &simCopy{g: newGovernor(most), osds: osds, now: start, next: start}
}

const service = 5 * time.Millisecond

// With far more OSDs than writes nothing holds a copy back, but for the probes.
func TestGovernorIdleCluster(t *testing.T) {
	c := newSimCopy(newSimOSDs(400, service), 32)
	c.run(2 * time.Second)
	if d := c.g.depth(); d != 32 {
		t.Errorf("depth is %d after two seconds", d)
	}
	rate, depth := c.run(time.Minute)
	if ideal := 32 / service.Seconds(); rate < 0.9*ideal || depth < 30 {
		t.Errorf("%.0f writes per second of %.0f, mean depth %.1f", rate, ideal, depth)
	}
}

// One OSD that does one thing at a time: more in flight only wait.
func TestGovernorOneOSD(t *testing.T) {
	c := newSimCopy(newSimOSDs(1, service), 32)
	c.run(5 * time.Second)
	rate, depth := c.run(10 * time.Minute)
	if ideal := 1 / service.Seconds(); rate < 0.95*ideal || depth > 4 {
		t.Errorf("%.0f writes per second of %.0f, mean depth %.1f", rate, ideal, depth)
	}
}

// When tenants make every write take four times as long, the copy steps back within a second, and comes back after them.
func TestGovernorTenants(t *testing.T) {
	osds := newSimOSDs(400, service)
	c := newSimCopy(osds, 16)
	c.run(time.Minute)
	var changes []bool
	for round := range 3 {
		osds.service = 4 * service
		c.run(2 * time.Second)
		if c.g.change() {
			changes = append(changes, c.g.heldBack)
		}
		if d := c.g.depth(); d > 3 {
			t.Errorf("round %d: depth is %d, two seconds after tenants came", round, d)
		}
		if _, depth := c.run(30 * time.Second); depth > 2 {
			t.Errorf("round %d: mean depth is %.1f beside tenants", round, depth)
		}
		osds.service = service
		c.run(3 * time.Second)
		if c.g.change() {
			changes = append(changes, c.g.heldBack)
		}
		if d := c.g.depth(); d != 16 {
			t.Errorf("round %d: depth is %d, three seconds after tenants went", round, d)
		}
		c.run(30 * time.Second)
	}
	if got := fmt.Sprint(changes); got != "[true false true false true false]" {
		t.Errorf("changes: %s", got)
	}
}

// Tenants that stay belong to what the store is: after ten minutes they are no reason to step back any more.
func TestGovernorForgets(t *testing.T) {
	osds := newSimOSDs(400, service)
	c := newSimCopy(osds, 16)
	c.run(time.Minute)
	osds.service = 4 * service
	c.run(15 * time.Minute)
	if d := c.g.depth(); d != 16 {
		t.Errorf("depth is %d", d)
	}
}

// A link that is slower than the store needs no depth, and none is tried.
func TestGovernorSlowLink(t *testing.T) {
	c := newSimCopy(newSimOSDs(4, service), 32)
	c.arrival = 10 * service
	rate, _ := c.run(10 * time.Minute)
	if want := 1 / c.arrival.Seconds(); rate < 0.95*want || c.g.depth() > 4 {
		t.Errorf("%.1f writes per second of %.1f, depth %d", rate, want, c.g.depth())
	}
}

// A single write at a time is all that some stores are configured for.
func TestGovernorOfOne(t *testing.T) {
	c := newSimCopy(newSimOSDs(1, service), 1)
	if _, depth := c.run(time.Minute); depth > 1.01 {
		t.Errorf("depth %.2f", depth)
	}
}

func newTestValve(depth, most int) *valve {
	return newValve(depth, most, time.Now, hclog.NewNullLogger(), prometheus.NewGauge(prometheus.GaugeOpts{}))
}

// There are never more writes than the limit, none is forgotten, and who gives up leaves no gap.
func TestValve(t *testing.T) {
	const limit = 3
	v := newTestValve(limit, 0)
	var running, done, gaveUp atomic.Int64
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if i%3 == 0 {
				go cancel()
			}
			err := v.do(ctx, writeSize, func() error {
				if n := running.Add(1); n > limit {
					t.Errorf("%d writes at once", n)
				}
				running.Add(-1)
				done.Add(1)
				return nil
			})
			if err != nil {
				gaveUp.Add(1)
			}
		})
	}
	wg.Wait()
	if n := done.Load() + gaveUp.Load(); n != 200 || done.Load() < 133 {
		t.Errorf("%d written, %d given up", done.Load(), gaveUp.Load())
	}
	if v.running != 0 || len(v.queue) != 0 {
		t.Errorf("%d still running, %d waiting", v.running, len(v.queue))
	}
}

// A gentle write is followed by a pause that is as long, within reason; one that failed is not.
func TestValveGentle(t *testing.T) {
	v := newTestValve(WriteGentle, 8)
	now := time.Unix(0, 0)
	var pauses []time.Duration
	v.now = func() time.Time { return now }
	v.pause = func(_ context.Context, d time.Duration) error { pauses = append(pauses, d); return nil }
	for _, took := range []time.Duration{service, time.Minute} {
		if err := v.do(t.Context(), v.piece, func() error { now = now.Add(took); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.do(t.Context(), v.piece, func() error { now = now.Add(service); return context.Canceled }); err == nil {
		t.Error("an error was lost")
	}
	if got := fmt.Sprint(pauses); got != "[5ms 1s]" {
		t.Errorf("pauses %s", got)
	}
}

// Gentle fills write smaller pieces, one at a time, and the same bytes.
func TestGentleFill(t *testing.T) {
	hub := newFakeHub(t)
	c := hub.add(conA, pattern(53, "dzhp"))
	s := newSite(t, hub)
	s.depth = WriteGentle
	s.begin()
	s.snapshot(c.describe(goalOf(goalPresent, 1, conA)))
	s.await(isPresent, 1)
	s.holds(c)
	if n := s.pools[st0].Calls(rbdtest.OpWriteAt); n != 8+4+1 {
		t.Errorf("%d writes", n)
	}
}

func TestValveIsFair(t *testing.T) {
	v := newTestValve(1, 0)
	window, err := v.enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var order []int
	var wg sync.WaitGroup
	for i := range 5 {
		wg.Go(func() {
			_ = v.do(t.Context(), 1, func() error { order = append(order, i); return nil })
		})
		for waiting := 0; waiting <= i; {
			v.mu.Lock()
			waiting = len(v.queue)
			v.mu.Unlock()
		}
	}
	v.leave(window, 0, false)
	wg.Wait()
	if got := fmt.Sprint(order); got != "[0 1 2 3 4]" {
		t.Errorf("order %s", got)
	}
}
