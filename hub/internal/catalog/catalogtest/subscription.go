package catalogtest

import (
	"maps"
	"slices"
	"sync"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
)

type subscription struct {
	records *Records
	ready   chan struct{}

	mu   sync.Mutex
	keys map[catalog.Key]struct{}
}

// Subscribe returns a subscription to changes, from now on.
func (r *Records) Subscribe() catalog.Subscription {
	s := &subscription{records: r, ready: make(chan struct{}, 1), keys: map[catalog.Key]struct{}{}}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.subs[s] = struct{}{}
	return s
}

func (s *subscription) add(k catalog.Key) {
	s.mu.Lock()
	s.keys[k] = struct{}{}
	s.mu.Unlock()
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// C receives a value when Take has something to return.
func (s *subscription) C() <-chan struct{} { return s.ready }

// Take returns and forgets the keys that have changed.
func (s *subscription) Take() (keys []catalog.Key, reset bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys = slices.Collect(maps.Keys(s.keys))
	s.keys = map[catalog.Key]struct{}{}
	return keys, false
}

// Close ends the subscription.
func (s *subscription) Close() {
	s.records.mu.Lock()
	defer s.records.mu.Unlock()
	delete(s.records.subs, s)
}
