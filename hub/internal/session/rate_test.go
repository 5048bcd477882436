package session

import (
	"testing"
	"time"
)

// TestRateLeft: a rate tells how long the rest takes once it has settled, longer while nothing is heard, and nothing when it
// stands.
func TestRateLeft(t *testing.T) {
	t.Parallel()
	start := time.Unix(1000, 0)
	at := func(d time.Duration) time.Time { return start.Add(d) }
	var r rate
	for i := range 9 { // 100 bytes per second, told four times a second
		r.add(int64(25*i), at(time.Duration(i)*250*time.Millisecond))
	}
	for _, c := range []struct {
		after time.Duration
		rest  int64
		speed int64
		left  time.Duration
	}{
		{2 * time.Second, 1000, 100, 10 * time.Second},
		{2 * time.Second, 10, 100, time.Second}, // not nothing
		{2 * time.Second, 0, 100, 0},
		{2 * time.Second, -5, 100, 0},
		{2 * time.Second, 1 << 60, 100, 0},
		{1999 * time.Millisecond, 1000, 100, 0}, // not settled
		{5 * time.Second, 1000, 100, 10 * time.Second},
		{8 * time.Second, 1000, 50, 20 * time.Second},
		{12 * time.Second, 1000, 0, 0},
	} {
		if v, l := r.value(at(c.after)), r.left(c.rest, at(c.after)); v != c.speed || l != c.left {
			t.Errorf("%s, %d bytes: %d/s, %s left, want %d/s, %s", c.after, c.rest, v, l, c.speed, c.left)
		}
	}
	r.add(10, at(12*time.Second)) // a new attempt
	r.add(110, at(13*time.Second))
	if l := r.left(100, at(13*time.Second)); l != 0 || r.value(at(13*time.Second)) != 100 {
		t.Errorf("a new attempt: %s left", l)
	}
	if none := (*rate)(nil); none.value(start) != 0 || none.left(1, start) != 0 {
		t.Error("no rate has a value")
	}
}
