package edge

import (
	"sync"
	"time"

	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// How often the hub is told that somebody waits for the same copy, how many copies it is told at once, and how many are
// remembered. Clients that wait ask again: what does not fit is told later.
const (
	remindAfter    = time.Minute
	mostToTell     = 100
	mostRemembered = 4096
)

// Awaited collects which copies clients of the site's Image API wait for, for the hub. Methods may be called at the same time
// and do not block.
type Awaited struct {
	now     func() time.Time
	changed chan struct{}

	mu    sync.Mutex
	again map[key]time.Time // when the hub may be told of it again
	next  map[key]struct{}  // to be told
}

// NewAwaited returns an empty collection.
func NewAwaited(now func() time.Time) *Awaited {
	return &Awaited{now: now, changed: make(chan struct{}, 1), again: map[key]time.Time{}, next: map[key]struct{}{}}
}

// Changed receives a value when Take has something to return.
func (a *Awaited) Changed() <-chan struct{} { return a.changed }

// Take returns the copies that somebody has asked for since the last Take, each at most once a minute; nil if there is none.
// What nobody has taken for a minute is forgotten.
func (a *Awaited) Take() *agentv1.Awaited {
	a.mu.Lock()
	defer a.mu.Unlock()
	m, now := &agentv1.Awaited{}, a.now()
	for k := range a.next {
		if now.Before(a.again[k]) {
			m.Replicas = append(m.Replicas, &agentv1.ReplicaKey{ImageId: string(k.image), StoreId: string(k.store)})
		}
	}
	clear(a.next)
	if len(m.Replicas) == 0 {
		return nil
	}
	return m
}

// add notes that somebody waits for an image that is on its way to stores.
func (a *Awaited) add(id image.ID, stores []image.StoreID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	for _, store := range stores {
		k := key{id, store}
		if now.Before(a.again[k]) || len(a.next) >= mostToTell || !a.roomLocked(now) {
			continue
		}
		a.again[k], a.next[k] = now.Add(remindAfter), struct{}{}
		select {
		case a.changed <- struct{}{}:
		default:
		}
	}
}

// roomLocked reports whether another copy can be remembered, and forgets those of long ago when there is no room.
func (a *Awaited) roomLocked(now time.Time) bool {
	if len(a.again) >= mostRemembered {
		for k, t := range a.again {
			if !now.Before(t) {
				delete(a.again, k)
				delete(a.next, k)
			}
		}
	}
	return len(a.again) < mostRemembered
}
