package bandwidth

import (
	"context"
	"slices"
	"time"

	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/schedule"
)

// waiter waits for its turn. ready is closed when it has got it or, with err set, will not get it.
type waiter struct {
	ready chan struct{}
	rank  int
	err   error
}

// Turn lets one frame move.
type Turn struct {
	l *Limiter
	s *site
}

// Begin waits for the turn of one frame to or from a site. rank, which is called only if the frame has to wait, says how it
// stands: the highest go first, and of equals those that came first; nil is 0. End the turn when done. It returns an Unavailable error with
// ReasonPaused when the site is stopped, and the cause of ctx when that ends first.
func (l *Limiter) Begin(ctx context.Context, id image.SiteID, rank func() int) (*Turn, error) {
	if turn, err := l.beginNow(id); turn != nil || err != nil {
		return turn, err
	}
	w := &waiter{ready: make(chan struct{})}
	if rank != nil {
		w.rank = rank()
	}
	l.mu.Lock()
	s := l.siteLocked(id)
	s.queueLocked(w)
	s.admitLocked(l.turnsLocked(s)) // a turn may have come free meanwhile
	l.mu.Unlock()
	select {
	case <-w.ready:
	case <-ctx.Done():
		l.mu.Lock()
		i := slices.Index(s.waiting, w)
		if i >= 0 {
			s.waiting = slices.Delete(s.waiting, i, i+1)
		}
		l.mu.Unlock()
		if i >= 0 {
			return nil, context.Cause(ctx)
		}
		<-w.ready // it came at the last moment
	}
	if w.err != nil {
		return nil, w.err
	}
	return &Turn{l, s}, nil
}

// beginNow returns a turn if there is one at once, else nil.
func (l *Limiter) beginNow(id image.SiteID) (*Turn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.siteLocked(id)
	if !s.stopped.IsZero() {
		return nil, errStopped(s.why)
	}
	if len(s.waiting) > 0 || s.begun >= l.turnsLocked(s) {
		return nil, nil //nolint:nilnil // the frame has to wait
	}
	s.begun++
	return &Turn{l, s}, nil
}

// queueLocked puts a frame behind those that go before it.
func (s *site) queueLocked(w *waiter) {
	i := len(s.waiting)
	for i > 0 && s.waiting[i-1].rank < w.rank {
		i--
	}
	s.waiting = slices.Insert(s.waiting, i, w)
}

// End lets the next frame have its turn. Call it once.
func (t *Turn) End() {
	t.l.mu.Lock()
	defer t.l.mu.Unlock()
	t.s.begun--
	t.s.admitLocked(t.l.turnsLocked(t.s))
}

// Take waits until some of the next left bytes of the frame may move, and returns how many. It returns an Unavailable error
// with ReasonPaused when the site has been stopped for longer than Grace, and the cause of ctx when that ends.
func (t *Turn) Take(ctx context.Context, left int64) (int64, error) {
	l, s := t.l, t.s
	l.mu.Lock()
	n := min(left, pieceOf(schedule.Lower(s.bucket.rate, l.hub.rate)))
	limited := s.bucket.rate != schedule.Unlimited || l.hub.rate != schedule.Unlimited
	err := s.cutLocked(l.Now())
	l.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if limited {
		if err := enter(ctx, s.queue); err != nil {
			return 0, err
		}
		defer leave(s.queue)
		if err := l.wait(ctx, s, &s.bucket, n); err != nil {
			return 0, err
		}
		if err := enter(ctx, l.queue); err != nil {
			return 0, err
		}
		defer leave(l.queue)
		if err := l.wait(ctx, s, &l.hub, n); err != nil {
			return 0, err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.meter.add(n, l.Now())
	l.moved.WithLabelValues(string(s.id)).Add(float64(n))
	return n, nil
}

// enter waits until queue is free. Who came first is first.
func enter(ctx context.Context, queue chan struct{}) error {
	select {
	case queue <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func leave(queue chan struct{}) { <-queue }

// wait takes n bytes from a bucket as soon as its rate, which may change meanwhile, allows.
func (l *Limiter) wait(ctx context.Context, s *site, b *bucket, n int64) error {
	for {
		l.mu.Lock()
		now := l.Now()
		if err := s.cutLocked(now); err != nil {
			l.mu.Unlock()
			return err
		}
		d := b.take(n, now)
		if !s.stopped.IsZero() {
			d = min(d, s.stopped.Add(Grace).Sub(now))
		}
		changed := l.changed
		l.mu.Unlock()
		if d == 0 {
			return nil
		}
		timer := time.NewTimer(d)
		select {
		case <-timer.C:
		case <-changed:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// cutLocked returns why a frame that has begun must not go on.
func (s *site) cutLocked(now time.Time) error {
	if s.stopped.IsZero() || now.Before(s.stopped.Add(Grace)) {
		return nil
	}
	return errStopped(s.why)
}
