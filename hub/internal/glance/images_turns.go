package glance

import (
	"context"
	"sync"

	"github.com/atoll-dcn/atoll/pkg/image"
)

// turns makes changes of one image wait for each other. The catalog loses no change without it, but of many clients that
// change one image at once only one would succeed at a time, and the others repeat themselves until they are refused.
// It holds the images that are being changed now, so it is bounded by the requests being served.
type turns struct {
	mu     sync.Mutex
	images map[image.ID]*turn
}

// turn is one image's. It is full while somebody has it.
type turn struct {
	taken chan struct{}
	users int // who have it or wait for it
}

func newTurns() *turns { return &turns{images: map[image.ID]*turn{}} }

// do calls change when it is its turn, or returns why ctx ended before.
func (t *turns) do(ctx context.Context, id image.ID, change func() error) error {
	mine := t.join(id)
	defer t.leave(id, mine)
	select {
	case mine.taken <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-mine.taken }()
	return change()
}

func (t *turns) join(id image.ID) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.images[id] == nil {
		t.images[id] = &turn{taken: make(chan struct{}, 1)}
	}
	t.images[id].users++
	return t.images[id]
}

func (t *turns) leave(id image.ID, mine *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if mine.users--; mine.users == 0 {
		delete(t.images, id)
	}
}
