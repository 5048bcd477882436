package session

import "time"

// rate is the recent speed of a transfer: an average in which each second weighs about a third less than the next.
type rate struct {
	bytes  int64
	at     time.Time
	perSec float64
}

// add notes that bytes have been transferred by now. Going back (a new attempt) starts again.
func (r *rate) add(bytes int64, now time.Time) {
	elapsed := now.Sub(r.at).Seconds()
	switch {
	case r.at.IsZero() || bytes < r.bytes:
		*r = rate{bytes: bytes, at: now}
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

// value returns bytes per second; 0 for nil.
func (r *rate) value() int64 {
	if r == nil {
		return 0
	}
	return int64(r.perSec)
}
