//go:build cgo

package cephrbd

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a clock that tests move.
type clock struct{ now atomic.Int64 }

func (c *clock) Now() time.Time          { return time.Unix(0, c.now.Load()) }
func (c *clock) Advance(d time.Duration) { c.now.Add(int64(d)) }

func free() (func(), error) { return func() {}, nil }

// blocked starts a call that lasts until the returned function is called, and waits until it runs.
func blocked(ctx context.Context, c *calls, late func(int)) (result chan error, end func()) {
	result = make(chan error, 1)
	running, gate := make(chan struct{}), make(chan struct{})
	go func() {
		_, err := run(ctx, c, "blocked", time.Minute, free, func() (int, error) {
			close(running)
			<-gate
			return 7, nil
		}, late)
		result <- err
	}()
	<-running
	return result, func() { close(gate) }
}

func TestRunReturnsTheResult(t *testing.T) {
	c := newCalls(1, time.Now)
	failure := errors.New("failure")
	for range 3 { // the slot is free again each time
		if v, err := run(t.Context(), c, "op", time.Minute, free, func() (int, error) { return 42, nil }, nil); v != 42 || err != nil {
			t.Errorf("got %d, %v", v, err)
		}
		if _, err := run(t.Context(), c, "op", time.Minute, free, func() (int, error) { return 0, failure }, nil); !errors.Is(err, failure) {
			t.Errorf("got %v", err)
		}
	}
	if !c.wait(time.Minute) {
		t.Error("calls are still running")
	}
}

func TestRunAbandons(t *testing.T) {
	c := newCalls(1, time.Now)
	ctx, cancel := context.WithCancel(t.Context())
	late := make(chan int, 1)
	result, end := blocked(ctx, c, func(v int) { late <- v })
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("the abandoned call returned %v", err)
	}

	// The slot stays taken: another call waits for it, until its own context ends.
	short, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	_, err := run(short, c, "second", time.Minute, free, func() (int, error) { t.Error("ran without a slot"); return 0, nil }, nil)
	if !fault.Is(err, fault.Unavailable) || fault.ReasonOf(err) != "STORE_UNREACHABLE" || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the second call returned %v", err)
	}
	if c.wait(time.Millisecond) {
		t.Error("wait does not see the abandoned call")
	}
	end()
	if v := <-late; v != 7 {
		t.Errorf("the late result is %d", v)
	}
	if !c.wait(time.Minute) {
		t.Error("calls are still running")
	}
	if _, err := run(t.Context(), c, "third", time.Minute, free, func() (int, error) { return 0, nil }, nil); err != nil {
		t.Errorf("the slot was not given back: %v", err)
	}
}

func TestRunHolds(t *testing.T) {
	c := newCalls(1, time.Now)
	released := make(chan struct{})
	gate := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	held := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = run(ctx, c, "op", time.Minute, func() (func(), error) {
			close(held)
			return func() { close(released) }, nil
		}, func() (int, error) { <-gate; return 0, nil }, nil)
	}()
	<-held
	cancel()
	<-done
	select {
	case <-released:
		t.Error("released while the abandoned call was running")
	default:
	}
	close(gate)
	<-released

	refused := errors.New("refused")
	for range 2 {
		_, err := run(t.Context(), c, "op", time.Minute, func() (func(), error) { return nil, refused },
			func() (int, error) { t.Error("ran although refused"); return 0, nil }, nil)
		if !errors.Is(err, refused) {
			t.Errorf("got %v", err)
		}
	}
}

func TestRunBoundsCalls(t *testing.T) {
	const slots = 3
	c := newCalls(slots, time.Now)
	var running, most atomic.Int64
	full := make(chan struct{}) // closed when all slots are taken: until then no call ends
	var once sync.Once
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			_, err := run(t.Context(), c, "op", time.Minute, free, func() (int, error) {
				n := running.Add(1)
				defer running.Add(-1)
				for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
				}
				if n == slots {
					once.Do(func() { close(full) })
				}
				<-full
				return 0, nil
			}, nil)
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := most.Load(); got != slots {
		t.Errorf("%d calls ran at the same time, want %d", got, slots)
	}
}

func TestStalled(t *testing.T) {
	var now clock
	c := newCalls(4, now.Now)
	first, endFirst := blocked(t.Context(), c, nil)
	now.Advance(50 * time.Second)
	second, endSecond := blocked(t.Context(), c, nil)
	want := func(wantN int, wantAge time.Duration) {
		t.Helper()
		n, operation, age := c.stalled()
		if n != wantN || age != wantAge || wantN > 0 && operation != "blocked" {
			t.Errorf("%d calls stalled, %q for %v; want %d, %v", n, operation, age, wantN, wantAge)
		}
	}
	want(0, 0)
	now.Advance(11 * time.Second) // the limit is a minute
	want(1, 61*time.Second)
	now.Advance(time.Minute)
	want(2, 121*time.Second)
	endFirst()
	<-first
	endSecond()
	<-second
	if !c.wait(time.Minute) {
		t.Error("calls are still running")
	}
	want(0, 0)
}

func TestNameLocks(t *testing.T) {
	l := nameLocks{held: map[string]chan struct{}{}}
	unlock, err := l.lock(t.Context(), "op", "b", "a", "b")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.lock(ctx, "op", "c"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	short, stop := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer stop()
	if _, err := l.lock(short, "op", "0", "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if again, err := l.lock(t.Context(), "op", "0"); err != nil { // was given back
		t.Error(err)
	} else {
		again()
	}
	unlock()
	var counter int
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			names := []string{"a", "b"}
			if i%2 == 0 {
				names = []string{"b", "a"}
			}
			unlock, err := l.lock(t.Context(), "op", names...)
			if err != nil {
				t.Error(err)
				return
			}
			counter++
			unlock()
		})
	}
	wg.Wait()
	if counter != 20 || len(l.held) != 0 {
		t.Errorf("%d passes, %d locks left", counter, len(l.held))
	}
}
