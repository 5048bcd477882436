package bandwidth

import (
	"math"
	"time"

	"github.com/atoll-dcn/atoll/pkg/manifest"
	"github.com/atoll-dcn/atoll/pkg/schedule"
)

const (
	mostPiece  = 256 << 10
	leastPiece = 16 << 10
	pieceTime  = 100 * time.Millisecond // a piece takes about so long, within its limits
	burstTime  = 50 * time.Millisecond  // an idle link may have so much at once
	frameTime  = 500 * time.Millisecond // as many frames move at the same time as bytes do in this time, and one at least
)

// pieceOf returns how many bytes move at once under a rate.
func pieceOf(r schedule.Rate) int64 {
	if r == schedule.Unlimited {
		return mostPiece
	}
	return min(max(int64(float64(r)*pieceTime.Seconds()), leastPiece), mostPiece)
}

// turnsOf returns how many frames may move at the same time under a rate.
func turnsOf(r schedule.Rate) int {
	if r == schedule.Unlimited {
		return math.MaxInt
	}
	return max(1, int(math.Ceil(float64(r)*frameTime.Seconds()/manifest.ChunkSize)))
}

// bucket hands out bytes at a rate, which may change at any time. It hands out a piece when it owes nothing, and owes it then.
type bucket struct {
	rate  schedule.Rate // 0 never
	bytes float64       // that may go now; negative: owed
	at    time.Time     // of bytes
}

// set changes the rate from now on.
func (b *bucket) set(r schedule.Rate, now time.Time) {
	b.fill(now)
	b.rate = r
	b.bytes = min(b.bytes, b.burst())
}

func (b *bucket) burst() float64 {
	if b.rate == schedule.Unlimited {
		return 0
	}
	return float64(b.rate) * burstTime.Seconds()
}

func (b *bucket) fill(now time.Time) {
	if b.rate == schedule.Unlimited {
		b.bytes = 0
	} else if passed := now.Sub(b.at); passed > 0 {
		b.bytes = min(b.burst(), b.bytes+float64(b.rate)*passed.Seconds())
	}
	b.at = now
}

// take takes n bytes and returns 0, or how long to wait before asking again.
func (b *bucket) take(n int64, now time.Time) time.Duration {
	if b.rate == schedule.Unlimited {
		return 0
	}
	b.fill(now)
	if b.bytes < 0 {
		return max(time.Duration(-b.bytes/float64(b.rate)*float64(time.Second)), time.Microsecond)
	}
	b.bytes -= float64(n)
	return 0
}

// meterTime is how fast a meter forgets.
const meterTime = 2 * time.Second

// meter tells how many bytes moved lately; each moment counts less the longer ago it is.
type meter struct {
	bytes float64
	at    time.Time
}

func (m *meter) add(n int64, now time.Time) {
	m.bytes = m.decayed(now) + float64(n)
	m.at = now
}

func (m *meter) decayed(now time.Time) float64 {
	return m.bytes * math.Exp(-max(0, now.Sub(m.at).Seconds())/meterTime.Seconds())
}

// perSecond returns the rate in bytes per second.
func (m *meter) perSecond(now time.Time) int64 {
	return int64(m.decayed(now) / meterTime.Seconds())
}
