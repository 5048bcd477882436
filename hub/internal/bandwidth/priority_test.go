package bandwidth

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atoll-dcn/atoll/pkg/schedule"
)

// TestPriority: frames that wait get their turns by rank, and equals in the order in which they came.
func TestPriority(t *testing.T) {
	inWorld(t, schedule.Always, func(w *world) {
		w.limit("a", 1<<20) // one frame at a time
		first, err := w.l.Begin(w.t.Context(), "a", func() int {
			w.t.Error("a frame that need not wait is asked how it stands")
			return 0
		})
		if err != nil {
			w.t.Fatal(err)
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		var order []int
		for i, rank := range []int{-1, 0, 1, 0, 1, -1} {
			wg.Go(func() {
				turn, err := w.l.Begin(w.t.Context(), "a", func() int { return rank })
				if err != nil {
					w.t.Error(err)
					return
				}
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
				<-time.After(time.Second)
				turn.End()
			})
			synctest.Wait()
		}
		first.End()
		wg.Wait()
		if want := []int{2, 4, 1, 3, 0, 5}; !slices.Equal(order, want) {
			w.t.Errorf("order %v, want %v", order, want)
		}
	})
}
