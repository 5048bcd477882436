//go:build cgo

package cephrbd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// calls runs blocking library calls, a bounded number at a time.
type calls struct {
	slots   chan struct{}
	now     func() time.Time
	mu      sync.Mutex
	running map[*call]struct{}
	idle    []chan struct{} // closed when nothing runs any more
}

// call is one library call that has not ended.
type call struct {
	operation string
	began     time.Time
	limit     time.Duration // how long it may take before it counts as stalled
}

func newCalls(n int, now func() time.Time) *calls {
	return &calls{slots: make(chan struct{}, n), now: now, running: map[*call]struct{}{}}
}

type outcome[T any] struct {
	value T
	err   error
}

// run runs f in a goroutine of its own and returns what it returns. It returns earlier when ctx ends: before f has a slot,
// f never runs; afterwards f is abandoned. Because exactly one side takes the result, f must hand out everything through
// it and must not touch memory of the caller. The result of an abandoned f that succeeds goes to late, which may be nil.
// hold is called once f is certain to run, and what it returns once f has ended: it keeps alive what f uses.
func run[T any](
	ctx context.Context, c *calls, operation string, limit time.Duration,
	hold func() (func(), error), f func() (T, error), late func(T),
) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return none, ended(ctx, operation)
	}
	release, err := hold()
	if err != nil {
		<-c.slots
		return none, err
	}
	done, gone := make(chan outcome[T]), make(chan struct{})
	c.begin(operation, limit, func() {
		defer func() { <-c.slots }()
		defer release()
		v, err := f()
		select {
		case done <- outcome[T]{v, err}:
		case <-gone:
			if err == nil && late != nil {
				late(v)
			}
		}
	})
	select {
	case o := <-done:
		return o.value, o.err
	case <-ctx.Done():
		close(gone)
		return none, ended(ctx, operation)
	}
}

// begin runs f in a goroutine and counts it among the running calls.
func (c *calls) begin(operation string, limit time.Duration, f func()) {
	this := &call{operation: operation, began: c.now(), limit: limit}
	c.mu.Lock()
	c.running[this] = struct{}{}
	c.mu.Unlock()
	go func() { // Pool.Close waits for it, within reason
		defer c.end(this)
		f()
	}()
}

func (c *calls) end(this *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.running, this)
	if len(c.running) > 0 {
		return
	}
	for _, idle := range c.idle {
		close(idle)
	}
	c.idle = nil
}

// stalled returns how many calls have exceeded their limit, and the operation and age of the oldest of them.
func (c *calls) stalled() (n int, operation string, oldest time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	for this := range c.running {
		age := now.Sub(this.began)
		if age <= this.limit {
			continue
		}
		n++
		if age > oldest {
			operation, oldest = this.operation, age
		}
	}
	return n, operation, oldest
}

// wait reports whether all calls ended within d.
func (c *calls) wait(d time.Duration) bool {
	c.mu.Lock()
	if len(c.running) == 0 {
		c.mu.Unlock()
		return true
	}
	idle := make(chan struct{})
	c.idle = append(c.idle, idle)
	c.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-idle:
		return true
	case <-timer.C:
		return false
	}
}

// ended is the error of a method whose context ended while it waited for the cluster. A deadline that passes then means
// that the cluster did not answer in time.
func ended(ctx context.Context, operation string) error {
	err := ctx.Err()
	if errors.Is(err, context.DeadlineExceeded) {
		return fault.Wrap(fmt.Errorf("%s: %w", operation, err), fault.Unavailable, "STORE_UNREACHABLE", "the Ceph cluster does not answer")
	}
	return fmt.Errorf("%s: %w", operation, err)
}
