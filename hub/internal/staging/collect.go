package staging

import (
	"context"
	"time"
)

const (
	collectEvery  = 5 * time.Second
	manifestStays = 5 * time.Minute // how long the manifest of an unused content stays in memory
	goneStays     = time.Hour       // how long the area remembers that a content was aborted
)

// Run collects what nobody needs any more until ctx ends; then it returns nil. Without it frames go only when space is
// short.
func (a *Area) Run(ctx context.Context) error {
	tick := time.NewTicker(collectEvery)
	defer tick.Stop()
	for {
		a.collect()
		select {
		case <-tick.C:
		case <-a.kick:
		case <-ctx.Done():
			return nil
		}
	}
}

// collect removes frames that nobody has needed for the retention, and brings the area below its limit should it have
// been lowered. It forgets manifests in memory that are not used.
func (a *Area) collect() {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.o.Now()
	a.collectMissed(now)
	var old []*file
	for id, c := range a.contents {
		a.checkWanted(c)
		c.collectSketch(now)
		unused := now.Sub(c.touched)
		switch {
		case c.state == gone && !c.writing && unused >= goneStays:
			delete(a.contents, id)
		case c.state == complete && !c.transient && c.end != nil && unused >= manifestStays && len(c.demand.wanted) == 0:
			c.digests, c.end = nil, nil
		}
		for _, f := range c.frames {
			since := f.last
			if c.idleSince.After(since) {
				since = c.idleSince
			}
			if a.rank(f, now) == idle && now.Sub(since) >= a.o.Retention {
				old = append(old, f)
			}
		}
	}
	for _, f := range old {
		if f.c.frames[f.index] == f && a.rank(f, now) == idle {
			a.remove(f, causeRetention)
		}
	}
	a.makeRoom(0, unread, a.o.Limit)
	if a.waiting > 0 {
		a.wakeWaiting() // time alone may have made frames evictable
	}
}
