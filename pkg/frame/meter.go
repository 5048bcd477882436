package frame

import (
	"sync"
	"time"
)

const (
	// meterSpan is the busy time after which a rate is known anew.
	meterSpan = 200 * time.Millisecond
	// meterWeight is the share of the latest span in the rate.
	meterWeight = 0.5
	// A body shorter than meterLeast that took less than meterBlink was here when its head was read; it would count as one of
	// a link as fast as memory.
	meterLeast = 256 << 10
	meterBlink = 5 * time.Millisecond
)

// meter measures the rate of a link by the time in which bodies arrive on any of its connections. The time until the first byte does
// not count: the other side may still be making the frame.
type meter struct {
	now func() time.Time

	mu     sync.Mutex
	active int
	since  time.Time // when active became 1
	busy   time.Duration
	bytes  int64
	rate   float64
}

// begin is called when a body begins to arrive, and the function it returns with the number of its bytes when it has ended.
func (m *meter) begin() (end func(bytes int64)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	began := m.now()
	if m.active++; m.active == 1 {
		m.since = began
	}
	return func(bytes int64) {
		m.mu.Lock()
		defer m.mu.Unlock()
		now := m.now()
		m.active--
		if bytes < meterLeast && now.Sub(began) < meterBlink {
			return
		}
		m.bytes += bytes
		m.busy += now.Sub(m.since)
		m.since = now
		if m.busy >= meterSpan {
			latest := float64(m.bytes) / m.busy.Seconds()
			if m.rate == 0 {
				m.rate = latest
			}
			m.rate += (latest - m.rate) * meterWeight
			m.busy, m.bytes = 0, 0
		}
	}
}

// bytesPerSecond returns the rate; 0 while it is not known.
func (m *meter) bytesPerSecond() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rate
}
