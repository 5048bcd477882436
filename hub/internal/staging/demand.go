package staging

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
)

// demand is what readers of a content miss. Area.mu guards it.
type demand struct {
	wanted  map[int]*want     // chunks that readers wait for
	ahead   map[int]struct{}  // chunks that readers will want next
	leases  map[int]time.Time // chunks that an offering agent has been asked for, and until when it may take
	changed chan struct{}     // closed and replaced when there may be more to ask for
	last    time.Time         // when a reader last began or ended to wait
	told    bool              // Wants has listed the content
	offered int64             // bytes received from offering agents
}

// want is one chunk that readers wait for.
type want struct {
	readers int
	arrived chan struct{} // closed when the frame is there or the content is gone
	file    *file         // set when it arrived; holds one hold for each reader
}

func newDemand() demand {
	return demand{
		wanted: map[int]*want{}, ahead: map[int]struct{}{}, leases: map[int]time.Time{}, changed: make(chan struct{}),
	}
}

func (d *demand) wantedWithin(now time.Time, linger time.Duration) bool {
	return len(d.wanted) > 0 || !d.last.IsZero() && now.Sub(d.last) < linger
}

func (d *demand) wake() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// awaitFrame waits for the frame of a chunk and returns it with a hold, or nil when the content has changed and the
// caller must look again. Lock held, released meanwhile.
func (a *Area) awaitFrame(ctx context.Context, c *content, index int) (*file, error) {
	d := &c.demand
	w := d.wanted[index]
	if w == nil {
		w = &want{arrived: make(chan struct{})}
		d.wanted[index] = w
		a.m.demanded.Inc()
		d.wake()
	}
	w.readers++
	d.last = a.o.Now()
	a.checkWanted(c)
	err := a.wait(ctx, w.arrived)
	d.last = a.o.Now()
	w.readers--
	switch {
	case err == nil:
		return w.file, nil
	case w.file != nil:
		a.drop(w.file)
	case w.readers == 0 && d.wanted[index] == w:
		delete(d.wanted, index)
	}
	return nil, err
}

// arrived hands a new frame to those who wait for it. Lock held.
func (a *Area) arrived(f *file) {
	d := &f.c.demand
	delete(d.ahead, f.index)
	delete(d.leases, f.index)
	if w := d.wanted[f.index]; w != nil {
		delete(d.wanted, f.index)
		w.file = f
		f.holds += w.readers
		close(w.arrived)
	}
	f.c.frames[f.index] = f
}

// lookAhead notes the chunks after index that are missing. Lock held.
func (a *Area) lookAhead(c *content, index int) {
	if c.state != complete {
		return
	}
	const farthest = 1024 // chunks looked at, zeroes included
	d, before, seen := &c.demand, len(c.demand.ahead), 0
	for i := index + 1; i < min(len(c.digests), index+farthest) && seen < a.o.Window; i++ {
		if c.digests[i].IsZero() {
			continue
		}
		seen++
		if f := c.frames[i]; f == nil || f.dying {
			d.ahead[i] = struct{}{}
		}
	}
	if len(d.ahead) > before {
		d.wake()
	}
}

// Demand waits until chunks of a complete content are wanted from those who offer it, and returns at most most of them:
// first those that readers wait for, then those they will want next, as far as there is space for them. Each is handed
// to one caller, who should send it within Options.Lease. Errors are those of Follow; the cause of ctx when it ends.
func (a *Area) Demand(ctx context.Context, id image.ID, most int) ([]int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		c, err := a.lookup(id)
		if err != nil {
			return nil, err
		}
		wake := c.grown
		if c.state == complete {
			a.roomAhead(c, most)
			wake = c.demand.changed
			if indexes := a.take(c, most); len(indexes) > 0 {
				return indexes, nil
			}
		}
		if err := a.waitDemand(ctx, c, wake); err != nil {
			return nil, err
		}
	}
}

// waitDemand waits until there may be more to ask for: for wake, and until a lease ends.
func (a *Area) waitDemand(ctx context.Context, c *content, wake <-chan struct{}) error {
	now := a.o.Now()
	next := a.o.Lease
	for _, until := range c.demand.leases {
		next = min(next, until.Sub(now))
	}
	t := time.NewTimer(max(next, time.Millisecond))
	defer t.Stop()
	a.mu.Unlock()
	defer a.mu.Lock()
	select {
	case <-wake:
	case <-t.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// roomAhead makes room for chunks to be fetched ahead, at the cost of frames that nobody needs any more.
func (a *Area) roomAhead(c *content, most int) {
	if n := min(most, len(c.demand.ahead)); n > 0 {
		a.makeRoom(int64(n+len(c.demand.leases))*frame.MaxSize, read, a.o.Limit)
	}
}

// take returns chunks to ask for and leases them.
func (a *Area) take(c *content, most int) []int {
	d, now := &c.demand, a.o.Now()
	var indexes []int
	lease := func(index int) {
		indexes = append(indexes, index)
		d.leases[index] = now.Add(a.o.Lease)
	}
	for index, until := range d.leases {
		if !now.Before(until) {
			delete(d.leases, index)
		}
	}
	for _, index := range slices.Sorted(maps.Keys(d.wanted)) {
		if _, leased := d.leases[index]; !leased && len(indexes) < most {
			lease(index)
		}
	}
	for _, index := range slices.Sorted(maps.Keys(d.ahead)) {
		if len(indexes) == most || a.used+int64(len(d.leases)+1)*frame.MaxSize > a.o.Limit {
			break
		}
		if f := c.frames[index]; f != nil && !f.dying {
			delete(d.ahead, index)
		} else if _, leased := d.leases[index]; !leased {
			lease(index)
		}
	}
	return indexes
}

// Wants returns the contents that sites should offer: complete ones of which readers miss frames, and ones that are not
// known here, now or within Options.Linger.
func (a *Area) Wants() []image.ID {
	a.mu.Lock()
	defer a.mu.Unlock()
	var ids []image.ID
	for id, c := range a.contents {
		a.checkWanted(c)
		if c.demand.told {
			ids = append(ids, id)
		}
	}
	for id, asked := range a.missed {
		if a.o.Now().Sub(asked) < a.o.Linger {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// WantsChanged receives a value when the answer of Wants may have changed. There is one channel for all callers.
func (a *Area) WantsChanged() <-chan struct{} { return a.wants }

// checkWanted notices when a content becomes wanted or stops being so. Lock held.
func (a *Area) checkWanted(c *content) {
	wanted := c.state == complete && c.demand.wantedWithin(a.o.Now(), a.o.Linger)
	if wanted != c.demand.told {
		c.demand.told = wanted
		notify(a.wants)
	}
	if !wanted && c.need.Fills == 0 {
		clear(c.demand.ahead)
	}
}
