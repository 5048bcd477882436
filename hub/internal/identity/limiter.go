package identity

import (
	"sync"
	"time"
)

const (
	joinsPerMinute = 20   // join attempts of one address
	mostAddresses  = 4096 // addresses counted in one minute
)

// limiter bounds join attempts by address, so that tokens cannot be guessed and a broken script does no harm.
type limiter struct {
	now func() time.Time

	mu     sync.Mutex
	minute time.Time
	count  map[string]int
}

func newLimiter(now func() time.Time) *limiter {
	return &limiter{now: now, count: map[string]int{}}
}

// allow reports whether an address may try now.
func (l *limiter) allow(address string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if minute := l.now().Truncate(time.Minute); !minute.Equal(l.minute) {
		l.minute = minute
		clear(l.count)
	}
	if _, known := l.count[address]; !known && len(l.count) >= mostAddresses {
		return false
	}
	l.count[address]++
	return l.count[address] <= joinsPerMinute
}
