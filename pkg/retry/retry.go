// Package retry is the only place that waits between attempts. Waits grow exponentially up to a limit and are jittered
// over ±50 %, so that a fleet that fails together does not return together.
package retry

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// Policy says how long to wait between attempts. The zero value is not useful.
type Policy struct {
	Initial  time.Duration // first wait
	Max      time.Duration // longest wait, before jitter
	Attempts int           // attempts in all; 0 means until the context ends
}

// Backoff hands out the waits of one series of attempts. Not safe for concurrent use.
type Backoff struct{ b *backoff.ExponentialBackOff }

// Backoff returns a fresh series.
func (p Policy) Backoff() *Backoff {
	b := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(p.Initial),
		backoff.WithMaxInterval(p.Max),
		backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(0.5),
		backoff.WithMaxElapsedTime(0), // the library's default gives up after 15 minutes
	)
	return &Backoff{b: b}
}

// Next returns how long to wait before the next attempt.
func (b *Backoff) Next() time.Duration { return b.b.NextBackOff() }

// Reset starts the series again.
func (b *Backoff) Reset() { b.b.Reset() }

// Wait blocks for the next wait or until ctx ends, and returns the context's error in that case.
func (b *Backoff) Wait(ctx context.Context) error { return Sleep(ctx, b.Next()) }

// Sleep blocks for d or until ctx ends, and returns the context's error in that case.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Do calls op until it succeeds, fails with an error that is not fault.Retryable, the attempts are used up or ctx ends.
// It returns op's last error. notify, if not nil, is called before each wait.
func Do(ctx context.Context, p Policy, op func(context.Context) error, notify func(err error, wait time.Duration)) error {
	b := p.Backoff()
	for attempt := 1; ; attempt++ {
		err := op(ctx)
		if err == nil || !fault.Retryable(err) || ctx.Err() != nil || attempt == p.Attempts {
			return err
		}
		wait := b.Next()
		if notify != nil {
			notify(err, wait)
		}
		if Sleep(ctx, wait) != nil {
			return err
		}
	}
}
