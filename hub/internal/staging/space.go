package staging

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// rank orders frames for eviction: lower goes first.
type rank int

const (
	idle    rank = iota // nobody needs the content
	read                // all fills have probably read it
	sourced             // needed, and a site can send it again
	unread              // needed, and no site can send it now; the central store has it
	never               // pinned or in use
)

// rank says how soon a frame may be evicted.
func (a *Area) rank(f *file, now time.Time) rank {
	c := f.c
	switch {
	case f.holds > 0 || f.dying || f.stuck || f.index >= a.pin(c):
		return never
	case !c.needed(now, a.o.Linger):
		return idle
	case c.need.Fills > 0 && f.reads >= c.need.Fills:
		return read
	case c.need.HasSource:
		return sourced
	default:
		return unread
	}
}

// victim is a frame that may be evicted.
type victim struct {
	*file
	when time.Time // its last use at that time
	rank rank
}

// nextVictim returns the best frame to evict of rank worst or lower. Looking at all frames is dear in a big area, so it
// takes several at a time.
func (a *Area) nextVictim(worst rank) (victim, bool) {
	now := a.o.Now()
	for fresh := false; ; fresh = true {
		for len(a.victims) > 0 {
			v := a.victims[0]
			if v.rank > worst {
				break
			}
			a.victims = a.victims[1:]
			if v.c.frames[v.index] == v.file && v.last.Equal(v.when) && a.rank(v.file, now) <= v.rank {
				return v, true
			}
		}
		if fresh {
			return victim{}, false
		}
		a.victims = a.rankAll(now)
	}
}

func (a *Area) rankAll(now time.Time) []victim {
	const most = 64
	var all []victim
	frames := 0
	for _, c := range a.contents {
		frames += len(c.frames)
		for _, f := range c.frames {
			if r := a.rank(f, now); r < never {
				all = append(all, victim{f, f.last, r})
			}
		}
	}
	slices.SortFunc(all, func(x, y victim) int {
		return cmp.Or(cmp.Compare(x.rank, y.rank), x.when.Compare(y.when), cmp.Compare(x.index, y.index))
	})
	return slices.Clone(all[:min(len(all), most, frames/16+1)])
}

// makeRoom evicts frames of rank worst or lower until n more bytes fit below limit, and reports whether they do. It
// releases the lock while it removes files.
func (a *Area) makeRoom(n int64, worst rank, limit int64) bool {
	for a.used+n > limit {
		v, ok := a.nextVictim(worst)
		if !ok {
			return false
		}
		a.remove(v.file, causeSpace)
	}
	return true
}

// evict removes frames of together n bytes, or as many as can go, and reports whether any went.
func (a *Area) evict(n int64) bool {
	went := false
	for n > 0 {
		v, ok := a.nextVictim(unread)
		if !ok {
			break
		}
		n -= v.size
		went = a.remove(v.file, causeSpace) || went
	}
	return went
}

// remove removes the file of a frame and reports whether it went. It releases the lock meanwhile; the frame is dying then
// and treated as missing by readers.
func (a *Area) remove(f *file, cause string) bool {
	c := f.c
	f.dying = true
	a.mu.Unlock()
	err := a.disk.Remove(c.framePath(f.index))
	a.mu.Lock()
	f.dying = false
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.stuck = true
		a.o.Log.Error("cannot remove frame", "content", c.id, "chunk", f.index, "error", err)
		return false
	}
	delete(c.frames, f.index)
	a.m.removed.WithLabelValues(cause).Inc()
	if f.holds > 0 {
		f.dropped = true
	} else {
		a.free(f.size)
	}
	a.wakeWaiting()
	return true
}

// wakeWaiting wakes those who wait for space or for a frame to be gone.
func (a *Area) wakeWaiting() {
	close(a.freed)
	a.freed = make(chan struct{})
}

// reserve accounts for n bytes before they are written. When they do not fit it evicts; when nothing can be evicted it
// waits, for transient contents with patience. Errors: Exhausted (ReasonFull) when ctx ends during the wait; why the content
// is gone. Lock held, released meanwhile.
func (a *Area) reserve(ctx context.Context, c *content, n int64) error {
	var p patience
	for !a.makeRoom(n, unread, a.room(c)) {
		if err := a.full(ctx, c, &p, 0); err != nil {
			return err
		}
	}
	a.used += n
	return nil
}

// release takes back what reserve has accounted for. Lock held.
func (a *Area) release(n int64) {
	a.used -= n
	a.wakeWaiting()
}

// free accounts for n bytes that are no longer there. Lock held.
func (a *Area) free(n int64) {
	a.used -= n
	a.goneBytes += n
}

// full waits until space may be available, and most at most unless that is 0. Lock held, released meanwhile.
func (a *Area) full(ctx context.Context, c *content, p *patience, most time.Duration) error {
	if c.state == gone {
		return c.cause
	}
	if c.transient {
		left, err := a.left(p)
		if err != nil {
			return err
		}
		if most == 0 || left < most {
			most = left
		}
	}
	var again <-chan time.Time
	if most > 0 {
		t := time.NewTimer(most)
		defer t.Stop()
		again = t.C
	}
	freed := a.freed
	a.waiting++
	a.m.waits.Inc()
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		a.waiting--
	}()
	select {
	case <-freed:
	case <-again:
	case <-ctx.Done():
		return fault.Wrap(context.Cause(ctx), fault.Exhausted, ReasonFull,
			"the staging area is full and the wait for space ended")
	}
	return nil
}

// diskRetry is how long a writer waits before it tries a full disk again when nothing was freed in the area.
const diskRetry = time.Second

// write writes the frame of a chunk for which space is reserved. A disk that is full below the limit counts as a full
// area. Lock not held.
func (a *Area) write(ctx context.Context, c *content, index int, parts ...[]byte) error {
	var size int64
	for _, p := range parts {
		size += int64(len(p))
	}
	var waited patience
	for {
		err := a.disk.Write(c.framePath(index), parts...)
		switch {
		case err == nil:
			return nil
		case !diskFull(err):
			return diskFault(err)
		}
		a.o.Log.Warn("disk of the staging area is full below its limit", "error", err)
		a.mu.Lock()
		if !a.evict(size) {
			err = a.full(ctx, c, &waited, diskRetry)
		} else {
			err = nil
		}
		a.mu.Unlock()
		if err != nil {
			return err
		}
	}
}
