package glance

import "testing"

// A hub that stood still for longer than it waits sees what has happened meanwhile.
func TestAwaitLooksWhenItsTimeIsUp(t *testing.T) {
	t.Parallel()
	s := defaultAPI(t).server
	for name, c := range map[string]struct {
		progress int64 // with the second look
		done     int   // from this look on
		want     bool
	}{"done": {0, 2, true}, "progress": {1, 3, true}, "nothing": {0, 3, false}} {
		looks := 0
		got := s.await(t.Context(), 0, func() (bool, int64) {
			if looks++; looks < 2 {
				return false, 0
			}
			return looks >= c.done, c.progress
		})
		if got != c.want {
			t.Errorf("%s: %t after %d looks", name, got, looks)
		}
	}
}
