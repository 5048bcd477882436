package etcdstore

import (
	"maps"
	"slices"
	"sync"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
)

// mostKeys bounds what one subscription remembers. A reader that falls further behind is told to read everything.
const mostKeys = 20000

// subscription implements catalog.Subscription.
type subscription struct {
	cache *cache
	ready chan struct{}

	mu      sync.Mutex
	keys    map[catalog.Key]struct{}
	rebuilt bool
}

// Subscribe returns a subscription to changes, from now on. Changes are announced before the Commit that made them
// returns. Close it when done.
func (s *Store) Subscribe() catalog.Subscription {
	sub := &subscription{cache: s.cache, ready: make(chan struct{}, 1), keys: map[catalog.Key]struct{}{}}
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	s.cache.subs[sub] = struct{}{}
	return sub
}

// C receives a value when Take has something to return.
func (s *subscription) C() <-chan struct{} { return s.ready }

// Take returns and forgets the keys that have changed, in no order. With reset, keys is empty and anything may have
// changed.
func (s *subscription) Take() (keys []catalog.Key, reset bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys, reset = slices.Collect(maps.Keys(s.keys)), s.rebuilt
	s.keys, s.rebuilt = map[catalog.Key]struct{}{}, false
	return keys, reset
}

// Close ends the subscription. Calling it again does nothing.
func (s *subscription) Close() {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	delete(s.cache.subs, s)
}

func (s *subscription) add(k catalog.Key) {
	s.mu.Lock()
	if !s.rebuilt {
		s.keys[k] = struct{}{}
	}
	overflow := len(s.keys) > mostKeys
	s.mu.Unlock()
	if overflow {
		s.reset()
		return
	}
	s.wake()
}

func (s *subscription) reset() {
	s.mu.Lock()
	s.keys, s.rebuilt = map[catalog.Key]struct{}{}, true
	s.mu.Unlock()
	s.wake()
}

func (s *subscription) wake() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}
