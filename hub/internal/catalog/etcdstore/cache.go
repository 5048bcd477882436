package etcdstore

import (
	"context"
	"sync"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
)

// cache is what this hub has seen of the store. One goroutine writes, many read.
type cache struct {
	mu      sync.RWMutex
	state   *state
	rev     int64         // every change up to this revision is in state
	changed chan struct{} // closed and replaced when state or rev changes
	subs    map[*subscription]struct{}
}

func newCache() *cache {
	return &cache{state: newState(nil), changed: make(chan struct{}), subs: map[*subscription]struct{}{}}
}

// change is one record that was put (rec set) or deleted.
type change struct {
	key catalog.Key
	rec *record
}

// apply takes over the changes of one or more whole revisions, the last of them rev.
func (c *cache) apply(rev int64, changes []change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ch := range changes {
		if ch.rec != nil {
			c.state.put(ch.rec)
		} else {
			c.state.delete(ch.key)
		}
		for s := range c.subs {
			s.add(ch.key)
		}
	}
	c.advance(rev)
}

// replace takes over a whole list made at revision rev. With reset the subscribers learn that anything may have changed,
// without it which records differ.
func (c *cache) replace(rev int64, next *state, reset bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	prev := c.state
	c.state = next
	for s := range c.subs {
		if reset {
			s.reset()
			continue
		}
		for k, r := range next.all {
			if old := prev.all[k]; old == nil || old.rev != r.rev {
				s.add(k)
			}
		}
		for k := range prev.all {
			if next.all[k] == nil {
				s.add(k)
			}
		}
	}
	c.advance(rev)
}

func (c *cache) advance(rev int64) {
	c.rev = rev
	close(c.changed)
	c.changed = make(chan struct{})
}

// record returns the record of a key, nil when there is none.
func (c *cache) record(k catalog.Key) *record {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.state.all[k]
}

// count returns the number of records of each kind.
func (c *cache) count() map[catalog.Kind]int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	n := map[catalog.Kind]int{}
	for k := range c.state.all {
		n[k.Kind]++
	}
	return n
}

// waitRevision blocks until the cache holds every change up to rev, or ctx ends.
func (c *cache) waitRevision(ctx context.Context, rev int64) error {
	return c.wait(ctx, func() bool { return c.rev >= rev })
}

// waitChanged blocks until the cache shows another revision than the given one for each key, or ctx ends.
func (c *cache) waitChanged(ctx context.Context, revs map[catalog.Key]int64) error {
	return c.wait(ctx, func() bool {
		for k, rev := range revs {
			if c.state.revision(k) == rev {
				return false
			}
		}
		return true
	})
}

// wait blocks until cond, called with the read lock held, is true or ctx ends.
func (c *cache) wait(ctx context.Context, cond func() bool) error {
	for {
		c.mu.RLock()
		done, changed := cond(), c.changed
		c.mu.RUnlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// revision returns the revision of a record, 0 when it does not exist.
func (s *state) revision(k catalog.Key) int64 {
	if r := s.all[k]; r != nil {
		return r.rev
	}
	return 0
}
