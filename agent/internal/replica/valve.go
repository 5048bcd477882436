package replica

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-dcn/atoll/pkg/retry"
)

// What Store.WriteDepth may say.
const (
	WriteAuto     = 0   // as many as the governor says
	WriteGentle   = -1  // one at a time, of a quarter of the size, and as long a pause after each as it took
	MaxWriteDepth = 256 // the largest number
)

// gentleSize is the length of a gentle write. Measured: a tenant waits less than half as long for it as for one of writeSize, and
// a copy is hardly slower for it, unlike with still smaller ones.
const gentleSize = 512 << 10

// valve lets so many writes into a store at a time as its governor says, in the order in which they came. Without a governor
// the limit is fixed.
type valve struct {
	now   func() time.Time
	log   hclog.Logger
	gauge prometheus.Gauge
	piece int                                              // length of a write
	pause func(ctx context.Context, d time.Duration) error // nil: none

	mu      sync.Mutex
	gov     *governor
	limit   int
	running int
	queue   []chan struct{} // closed when it is the turn of its owner
}

// newValve makes a valve for a store. The governor of WriteAuto decides up to most.
func newValve(depth, most int, now func() time.Time, log hclog.Logger, gauge prometheus.Gauge) *valve {
	v := &valve{now: now, log: log, gauge: gauge, limit: depth, piece: writeSize}
	switch depth {
	case WriteAuto:
		v.gov = newGovernor(most)
		v.limit = v.gov.limit
	case WriteGentle:
		v.limit, v.piece, v.pause = 1, gentleSize, retry.Sleep
	}
	gauge.Set(float64(v.limit))
	return v
}

// do runs write, of n bytes, when there is room. It fails when ctx ends before.
func (v *valve) do(ctx context.Context, n int, write func() error) error {
	window, err := v.enter(ctx)
	if err != nil {
		return err
	}
	began := v.now()
	err = write()
	took := v.now().Sub(began)
	if v.pause != nil && err == nil {
		_ = v.pause(ctx, min(took, pauseMax)) // what ends it early ends the next write, too
	}
	v.leave(window, took, err == nil && n == writeSize)
	return err
}

// pauseMax bounds the pause after a gentle write: a store that hangs for a minute is not to be left alone for another.
const pauseMax = time.Second

func (v *valve) enter(ctx context.Context) (window int, err error) {
	v.mu.Lock()
	if v.running >= v.limit || len(v.queue) > 0 {
		turn := make(chan struct{})
		v.queue = append(v.queue, turn)
		if v.gov != nil {
			v.gov.want()
		}
		v.mu.Unlock()
		select {
		case <-turn:
			v.mu.Lock()
		case <-ctx.Done():
			v.mu.Lock()
			defer v.mu.Unlock()
			if i := slices.Index(v.queue, turn); i >= 0 {
				v.queue = slices.Delete(v.queue, i, i+1)
			} else { // it was our turn just now
				v.running--
				v.admit()
			}
			return 0, ctx.Err()
		}
	} else {
		v.running++
	}
	defer v.mu.Unlock()
	if v.gov != nil {
		window = v.gov.begin(v.running)
	}
	return window, nil
}

// admit lets in who waits, as far as there is room.
func (v *valve) admit() {
	for len(v.queue) > 0 && v.running < v.limit {
		v.running++
		close(v.queue[0])
		v.queue = v.queue[1:]
	}
}

// leave ends a write. One that is no measure of the store is not counted.
func (v *valve) leave(window int, took time.Duration, counts bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.running--
	if g := v.gov; g != nil && counts && g.end(v.now(), window, took) {
		v.limit = g.limit
		v.gauge.Set(float64(g.depth()))
		if g.change() {
			text := "writes into the store take as usual"
			if g.heldBack {
				text = "writes into the store take long, fewer at a time"
			}
			v.log.Info(text, "depth", g.depth(), "most", g.max, "latency", g.latest, "lowest", slices.Min(g.lows))
		}
	}
	v.admit()
}
