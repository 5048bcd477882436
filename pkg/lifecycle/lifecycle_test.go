package lifecycle

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errBoom = errors.New("boom")

// untilDone is a task that behaves: it ends with its context.
func untilDone(ended *atomic.Int32) func(context.Context) error {
	return func(ctx context.Context) error {
		<-ctx.Done()
		ended.Add(1)
		return ctx.Err()
	}
}

func TestFirstFailureStopsTheOthers(t *testing.T) {
	tests := map[string]struct {
		run  func(context.Context) error
		want string
		is   error
	}{
		"error":         {run: func(context.Context) error { return errBoom }, want: "bad: boom", is: errBoom},
		"early return":  {run: func(context.Context) error { return nil }, want: "bad: ended unexpectedly"},
		"panic":         {run: func(context.Context) error { panic("ouch") }, want: "bad: panic: ouch"},
		"own cancelled": {run: func(context.Context) error { return context.Canceled }, want: "bad: context canceled", is: context.Canceled},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var ended atomic.Int32
			err := Run(t.Context(),
				Task{Name: "one", Run: untilDone(&ended)},
				Task{Name: "bad", Run: tt.run},
				Task{Name: "two", Run: untilDone(&ended)})
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%v does not wrap %v", err, tt.is)
			}
			if ended.Load() != 2 {
				t.Errorf("%d of 2 tasks had ended when Run returned", ended.Load())
			}
		})
	}
}

func TestPanicCarriesTheStack(t *testing.T) {
	err := Run(t.Context(), Task{Name: "bad", Run: func(context.Context) error { panicDeep(); return nil }})
	if err == nil || !strings.Contains(err.Error(), "panicDeep") {
		t.Errorf("no stack in %v", err)
	}
}

func panicDeep() { panic("deep") }

func TestCancellingYieldsNil(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var ended atomic.Int32
	started := make(chan struct{})
	result := make(chan error, 1)
	go func() {
		result <- Run(ctx,
			Task{Name: "one", Run: untilDone(&ended)},
			Task{Name: "two", Run: func(ctx context.Context) error {
				close(started)
				<-ctx.Done()
				ended.Add(1)
				return nil
			}})
	}()
	<-started
	cancel()
	if err := <-result; err != nil {
		t.Errorf("got %v", err)
	}
	if ended.Load() != 2 {
		t.Errorf("%d of 2 tasks had ended", ended.Load())
	}
}

func TestFailureWhileStoppingIsReported(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := Run(ctx, Task{Name: "flush", Run: func(ctx context.Context) error {
		<-ctx.Done()
		return errBoom
	}})
	if !errors.Is(err, errBoom) {
		t.Errorf("got %v, want the failure of the stop", err)
	}
}

func TestTheOthersSeeWhy(t *testing.T) {
	var cause error
	err := Run(t.Context(),
		Task{Name: "bad", Run: func(context.Context) error { return errBoom }},
		Task{Name: "watcher", Run: func(ctx context.Context) error {
			<-ctx.Done()
			cause = context.Cause(ctx)
			return nil
		}})
	if !errors.Is(cause, errBoom) || !errors.Is(err, errBoom) {
		t.Errorf("cause %v, result %v", cause, err)
	}
}

func TestNoTasks(t *testing.T) {
	if err := Run(t.Context()); err != nil {
		t.Error(err)
	}
}
