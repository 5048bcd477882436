package frame

import (
	"testing"
	"time"
)

// Only the time in which something arrives counts, and once however many connections there are.
func TestMeter(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	m := &meter{now: func() time.Time { return now }}
	if m.bytesPerSecond() != 0 {
		t.Error("a rate out of nothing")
	}
	for range 4 {
		a := m.begin()
		now = now.Add(50 * time.Millisecond)
		b := m.begin()
		now = now.Add(50 * time.Millisecond)
		a(5 << 20)
		b(5 << 20)
		now = now.Add(time.Hour)
	}
	if got := m.bytesPerSecond(); got < 80<<20 || got > 120<<20 {
		t.Errorf("%.0f bytes per second, want about 100 MiB", got)
	}
	for range 40 {
		end := m.begin()
		now = now.Add(100 * time.Millisecond)
		end(1 << 20)
	}
	if got := m.bytesPerSecond(); got < 9<<20 || got > 11<<20 {
		t.Errorf("%.0f bytes per second after the link got slower, want 10 MiB", got)
	}
}

// Small bodies that were here already when somebody looked do not make a slow link a fast one.
func TestMeterOfSmallBodies(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	m := &meter{now: func() time.Time { return now }}
	large := func() {
		end := m.begin()
		now = now.Add(200 * time.Millisecond)
		end(4 << 20)
	}
	large()
	for range 10_000 {
		end := m.begin()
		now = now.Add(100 * time.Microsecond)
		end(60 << 10)
	}
	large()
	if got := m.bytesPerSecond(); got < 15<<20 || got > 25<<20 {
		t.Errorf("%.0f bytes per second, want about 20 MiB", got)
	}
	for range 40 { // on a link that is as slow as that small bodies tell the rate
		end := m.begin()
		now = now.Add(100 * time.Millisecond)
		end(10 << 10)
	}
	if got := m.bytesPerSecond(); got < 90<<10 || got > 200<<10 {
		t.Errorf("%.0f bytes per second after the link got slower, want 100 KiB", got)
	}
}
