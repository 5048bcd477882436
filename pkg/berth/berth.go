// Package berth bounds how much of something goes on at the same time, and how much of that is one project's: whoever is
// slow on purpose takes a share, and others go on.
package berth

import (
	"context"
	"sync"
)

// Berths is a number of berths. Its methods may be called at the same time.
type Berths struct {
	share int

	mu    sync.Mutex
	free  int
	held  map[string]int // by holder; none is 0
	moved chan struct{}  // closed and replaced when a berth is given back
}

// New returns total berths, at least 1, of which one holder takes at most share, at least 1.
func New(total, share int) *Berths {
	return &Berths{free: max(total, 1), share: max(share, 1), held: map[string]int{}, moved: make(chan struct{})}
}

// Take waits for a berth until ctx ends, whose cause it returns then. Berths come free for all who wait at once, in no
// order. Whoever has taken a berth calls give, once.
func (p *Berths) Take(ctx context.Context, holder string) (give func(), err error) {
	for {
		moved, ok := p.take(holder)
		if ok {
			return func() { p.give(holder) }, nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Try is Take without waiting; ok says whether there was a berth.
func (p *Berths) Try(holder string) (give func(), ok bool) {
	if _, ok := p.take(holder); !ok {
		return nil, false
	}
	return func() { p.give(holder) }, true
}

// Taken returns how many berths are taken.
func (p *Berths) Taken() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, held := range p.held {
		n += held
	}
	return n
}

func (p *Berths) take(holder string) (moved <-chan struct{}, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free == 0 || p.held[holder] >= p.share {
		return p.moved, false
	}
	p.free--
	p.held[holder]++
	return nil, true
}

func (p *Berths) give(holder string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free++
	if p.held[holder]--; p.held[holder] == 0 {
		delete(p.held, holder)
	}
	close(p.moved)
	p.moved = make(chan struct{})
}
