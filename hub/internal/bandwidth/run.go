package bandwidth

import (
	"context"
	"time"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
)

// lookEvery is how often the clock is looked at although nothing is due: it may be set.
const lookEvery = time.Minute

// Run follows the records and the time until ctx ends.
func (l *Limiter) Run(ctx context.Context) error {
	sub := l.Records.Subscribe()
	defer sub.Close()
	for {
		next := l.refresh()
		if !l.idle(ctx, sub, next) {
			return nil
		}
	}
}

// idle waits for next, for changes of limits, or lookEvery. It returns false when ctx has ended.
func (l *Limiter) idle(ctx context.Context, sub catalog.Subscription, next time.Time) bool {
	d := lookEvery
	if !next.IsZero() {
		d = min(d, max(next.Sub(l.Now()), time.Millisecond))
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-sub.C():
			keys, reset := sub.Take()
			for _, k := range keys {
				reset = reset || k.Kind == catalog.KindSite || k.Kind == catalog.KindHub
			}
			if reset {
				return true
			}
		}
	}
}
