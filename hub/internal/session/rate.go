package session

import "time"

const (
	settleTime = 2 * time.Second  // so much has to be measured before a rate tells how long the rest takes
	steadyTime = 3 * time.Second  // a transfer that has said nothing for so long slows down
	stallTime  = 10 * time.Second // and after so long it stands
)

// rate is the recent speed of a transfer: an average in which each second weighs about a third less than the next.
type rate struct {
	bytes  int64
	since  time.Time // of the first figure
	at     time.Time // of the latest one
	perSec float64
}

// add notes that bytes have been transferred by now. Going back (a new attempt) starts again.
func (r *rate) add(bytes int64, now time.Time) {
	elapsed := now.Sub(r.at).Seconds()
	switch {
	case r.at.IsZero() || bytes < r.bytes:
		*r = rate{bytes: bytes, since: now, at: now}
	case elapsed > 0:
		speed := float64(bytes-r.bytes) / elapsed
		weight := min(1, elapsed/3)
		if r.perSec == 0 {
			weight = 1
		}
		r.perSec += weight * (speed - r.perSec)
		r.bytes, r.at = bytes, now
	}
}

// value returns bytes per second; 0 for nil. A site reports only what has changed, so silence lowers it.
func (r *rate) value(now time.Time) int64 {
	if r == nil {
		return 0
	}
	switch silent := now.Sub(r.at); {
	case silent >= stallTime:
		return 0
	case silent > steadyTime:
		return int64(r.perSec * steadyTime.Seconds() / silent.Seconds())
	default:
		return int64(r.perSec)
	}
}

// left returns how long the rest of so many bytes takes at the present rate; 0 while that cannot be told.
func (r *rate) left(rest int64, now time.Time) time.Duration {
	perSec := r.value(now)
	if perSec <= 0 || rest <= 0 || now.Sub(r.since) < settleTime {
		return 0
	}
	seconds := float64(rest) / float64(perSec)
	if seconds > longest.Seconds() {
		return 0
	}
	return max(time.Duration(seconds*float64(time.Second)).Round(time.Second), time.Second)
}

// longest is the longest time that is told: who waits longer has another problem.
const longest = 99 * 24 * time.Hour
