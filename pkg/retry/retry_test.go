package retry

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

var (
	errAgain = fault.New(fault.Unavailable, "STORE_UNREACHABLE", "no answer")
	errNever = fault.New(fault.Denied, "NO_ACCESS", "not allowed")
)

func TestBackoffGrowsToItsLimitWithJitter(t *testing.T) {
	const initial, limit = 100 * time.Millisecond, 2 * time.Second
	b := Policy{Initial: initial, Max: limit}.Backoff()
	for range 100 {
		base := initial
		for i := range 12 {
			wait := b.Next()
			if wait < base/2 || wait > base+base/2 {
				t.Fatalf("wait %d is %v, want %v ± 50 %%", i, wait, base)
			}
			base = min(2*base, limit)
		}
		b.Reset()
	}
}

func TestBackoffNeverGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := Policy{Initial: time.Second, Max: time.Minute}.Backoff()
		for start := time.Now(); time.Since(start) < 24*time.Hour; {
			if err := b.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if next := b.Next(); next <= 0 {
				t.Fatalf("gave up after %v", time.Since(start))
			}
		}
	})
}

func TestWaitsAreSpread(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 100 {
		seen[Policy{Initial: time.Second, Max: time.Second}.Backoff().Next()] = true
	}
	if len(seen) < 50 {
		t.Errorf("100 first waits have only %d different values", len(seen))
	}
}

func TestSleepReturnsTheCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("shutting down")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(cause) })
		start := time.Now()
		if err := Sleep(ctx, time.Hour); !errors.Is(err, cause) {
			t.Errorf("got %v, want the cause", err)
		}
		if d := time.Since(start); d != time.Second {
			t.Errorf("slept %v", d)
		}
		if err := Sleep(t.Context(), time.Minute); err != nil {
			t.Error(err)
		}
	})
}

func TestDo(t *testing.T) {
	tests := map[string]struct {
		attempts int
		results  []error // of the calls in order
		calls    int
		err      error
	}{
		"success at once":       {results: []error{nil}, calls: 1},
		"success after failure": {results: []error{errAgain, errAgain, nil}, calls: 3},
		"permanent at once":     {results: []error{errNever, nil}, calls: 1, err: errNever},
		"permanent later":       {results: []error{errAgain, errNever, nil}, calls: 2, err: errNever},
		"unclassified":          {results: []error{errors.ErrUnsupported, nil}, calls: 1, err: errors.ErrUnsupported},
		"attempts used up":      {attempts: 3, results: []error{errAgain, errAgain, errAgain, nil}, calls: 3, err: errAgain},
		"one attempt":           {attempts: 1, results: []error{errAgain, nil}, calls: 1, err: errAgain},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls, notified := 0, 0
				err := Do(t.Context(), Policy{Initial: time.Second, Max: time.Minute, Attempts: tt.attempts},
					func(context.Context) error { calls++; return tt.results[calls-1] },
					func(err error, wait time.Duration) {
						notified++
						if !errors.Is(err, tt.results[calls-1]) || wait <= 0 {
							t.Errorf("notified of %v and a wait of %v", err, wait)
						}
					})
				if !errors.Is(err, tt.err) {
					t.Errorf("got %v, want %v", err, tt.err)
				}
				if calls != tt.calls || notified != tt.calls-1 {
					t.Errorf("%d calls and %d notifications, want %d and %d", calls, notified, tt.calls, tt.calls-1)
				}
			})
		})
	}
}

func TestDoStopsWithItsContext(t *testing.T) {
	t.Run("during a wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			calls := 0
			err := Do(ctx, Policy{Initial: time.Hour, Max: time.Hour},
				func(context.Context) error { calls++; return errAgain }, nil)
			if !errors.Is(err, errAgain) || calls != 1 {
				t.Errorf("got %v after %d calls, want the operation's own error after one", err, calls)
			}
		})
	})
	t.Run("during the operation", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		calls := 0
		err := Do(ctx, Policy{Initial: time.Hour, Max: time.Hour},
			func(context.Context) error { calls++; cancel(); return errAgain }, nil)
		if !errors.Is(err, errAgain) || calls != 1 {
			t.Errorf("got %v after %d calls", err, calls)
		}
	})
}
