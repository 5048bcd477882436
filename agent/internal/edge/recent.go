package edge

import (
	"sync"
	"time"

	"github.com/atoll-dcn/atoll/pkg/image"
)

// How long the hub answers for an image after a change of it went through this site: by then the change has come back with
// the desired state. And how many such images are remembered.
const (
	settling    = 5 * time.Second
	maxSettling = 4096
)

// recent remembers which images were changed through this site a moment ago, so that clients read their own writes.
type recent struct {
	now func() time.Time

	mu    sync.Mutex
	until map[image.ID]time.Time
	sweep time.Time // when the next sweep is worth it
}

// add notes a change.
func (r *recent) add(id image.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if len(r.until) >= maxSettling && !now.Before(r.sweep) {
		r.sweep = now.Add(settling)
		for k, t := range r.until {
			if !now.Before(t) {
				delete(r.until, k)
			}
		}
	}
	if len(r.until) < maxSettling {
		r.until[id] = now.Add(settling)
	}
}

// has reports whether the image was changed a moment ago.
func (r *recent) has(id image.ID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	t, ok := r.until[id]
	if ok && !r.now().Before(t) {
		delete(r.until, id)
		return false
	}
	return ok
}
