package replica

import (
	"slices"
	"time"
)

// governor decides how many writes may be in flight in a store, from how long they take.
//
// Every probeEvery it writes one after the other for a moment: what a write takes then is what the store needs while nobody
// queues behind us. The lowest of these in the last ten minutes of writing is what writes are compared with. While they take at most
// tolerance times as long, one more is allowed; when they take longer, a quarter fewer. So it ends where waiting in the
// store's queues, ours or those of tenants, begins to outweigh the work. It does nothing while no more writes are wanted.
// Not safe for concurrent use.
type governor struct {
	max   int
	limit int

	window   int             // number of the window
	took     []time.Duration // what writes of it have taken
	peak     int             // most writes in flight in it
	waited   bool            // more were wanted
	probing  bool            // one after the other
	back     int             // limit after that
	probed   time.Time       // the latest probe
	lows     []time.Duration // of probes, the latest last
	steady   bool            // it has been too deep before
	latest   time.Duration   // median of the latest window
	heldBack bool            // see change
}

const (
	// tolerance is as low as one OSD's speed allows: eight writes in flight take nearly four times as long as one.
	tolerance  = 3.0
	probeEvery = 20 * time.Second
	probeKeep  = 30 // 10 minutes
	windowMin  = 8  // writes
)

func newGovernor(most int) *governor {
	return &governor{max: most, limit: 1, probing: true, back: min(2, most)}
}

// begin is told of a write that starts as one of n in flight. It returns the window, which end wants to know.
func (g *governor) begin(n int) int {
	g.peak = max(g.peak, n)
	return g.window
}

// want is told that a write has to wait.
func (g *governor) want() { g.waited = true }

// end is told what a write of the usual size took that began in a window. It reports whether the limit may have changed.
func (g *governor) end(now time.Time, window int, took time.Duration) bool {
	if window != g.window {
		return false // queued behind more writes, or fewer, than are allowed now
	}
	g.took = append(g.took, took)
	if len(g.took) < max(windowMin, 2*g.limit) {
		return false
	}
	slices.Sort(g.took)
	g.latest = g.took[len(g.took)/2]
	g.decide(now)
	g.window++
	g.took, g.peak, g.waited = g.took[:0], 0, false
	return true
}

func (g *governor) decide(now time.Time) {
	if g.peak <= 1 {
		g.learn(now)
	}
	if g.probing {
		g.probing, g.limit = false, g.back
		return
	}
	switch slow := float64(g.latest) / float64(slices.Min(g.lows)); {
	case slow > tolerance:
		g.steady = true
		g.limit = max(1, g.limit*3/4)
	case !g.waited:
	case !g.steady:
		g.limit = min(2*g.limit, g.max)
	case slow < 0.9*tolerance:
		g.limit = min(g.limit+1, g.max)
	}
	if now.Sub(g.probed) >= probeEvery {
		g.probing, g.back, g.limit = true, g.limit, 1
	}
}

// learn notes what a write takes while it is the only one.
func (g *governor) learn(now time.Time) {
	if n := len(g.lows); n > 0 && now.Sub(g.probed) < probeEvery {
		g.lows[n-1] = min(g.lows[n-1], g.latest)
		return
	}
	g.probed = now
	g.lows = append(g.lows, g.latest)
	if len(g.lows) > probeKeep {
		g.lows = slices.Delete(g.lows, 0, 1)
	}
}

// depth returns the limit, without the moments of probes.
func (g *governor) depth() int {
	if g.probing {
		return g.back
	}
	return g.limit
}

// change reports whether the store has begun or ceased to be one that we hold back for.
func (g *governor) change() bool {
	was, d := g.heldBack, g.depth()
	switch {
	case g.steady && d <= g.max/4:
		g.heldBack = true
	case d >= g.max/2:
		g.heldBack = false
	}
	return was != g.heldBack
}
