package auth

import (
	"errors"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/atoll-dcn/atoll/pkg/auth/internal/lru"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

// limitedUsers is how many users a Limiter remembers. Whoever is forgotten starts with a full bucket.
const limitedUsers = 10_000

// Limiter bounds how many requests each user makes: a bucket of tokens per user that fills steadily. Its methods may be
// called at the same time.
type Limiter struct {
	perSecond rate.Limit
	burst     int
	now       func() time.Time

	mu      sync.Mutex
	buckets *lru.Cache[string, *rate.Limiter]
}

// NewLimiter returns a limiter that lets each user make perSecond requests a second on average and burst (at least 1) at
// once. Zero or negative perSecond: no limit. now is the clock; nil: time.Now.
func NewLimiter(perSecond float64, burst int, now func() time.Time) *Limiter {
	if now == nil {
		now = time.Now
	}
	return &Limiter{
		perSecond: rate.Limit(perSecond), burst: max(burst, 1), now: now,
		buckets: lru.New[string, *rate.Limiter](limitedUsers),
	}
}

// Allow takes one request from the caller's bucket. When it is empty the error is Exhausted, with the reason RATE_LIMIT,
// and RetryAfter tells how long to wait. A nil caller shares a bucket with all others that nobody knows.
func (l *Limiter) Allow(c *Caller) error {
	if l.perSecond <= 0 {
		return nil
	}
	var user string
	if c != nil {
		user = c.UserID
	}
	now := l.now()
	l.mu.Lock()
	bucket, ok := l.buckets.Get(user)
	if !ok {
		bucket = rate.NewLimiter(l.perSecond, l.burst)
		l.buckets.Put(user, bucket)
	}
	l.mu.Unlock()
	if bucket.AllowN(now, 1) {
		return nil
	}
	missing := 1 - bucket.TokensAt(now)
	wait := time.Duration(missing / float64(l.perSecond) * float64(time.Second))
	return fault.Wrap(tooFast{wait: wait}, fault.Exhausted, "RATE_LIMIT", "too many requests; wait and try again")
}

// tooFast says how long to wait.
type tooFast struct{ wait time.Duration }

func (t tooFast) Error() string { return "the user's bucket is filled again in " + t.wait.String() }

// RetryAfter returns how long to wait after an error of Limiter.Allow, in whole seconds and at least one; ok is false for
// other errors.
func RetryAfter(err error) (wait time.Duration, ok bool) {
	var t tooFast
	if !errors.As(err, &t) {
		return 0, false
	}
	return max((t.wait + time.Second - 1).Truncate(time.Second), time.Second), true
}
