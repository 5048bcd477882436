package replica

import (
	"context"
	"sync/atomic"

	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// buffers is a bounded stock of chunk buffers. Fresh memory costs more than the copy that goes through it, so buffers
// are kept while there is work; all go when the last one comes back and nobody keeps them.
type buffers struct {
	kept  atomic.Int32
	slots chan struct{}
	free  chan []byte
}

func newBuffers(n int) *buffers {
	return &buffers{slots: make(chan struct{}, n), free: make(chan []byte, n)}
}

// get waits for a buffer of manifest.ChunkSize. Give it back with put.
func (b *buffers) get(ctx context.Context) ([]byte, error) {
	select {
	case b.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case buf := <-b.free:
		return buf, nil
	default:
		return make([]byte, manifest.ChunkSize), nil
	}
}

func (b *buffers) put(buf []byte) {
	b.free <- buf
	<-b.slots
	b.shed()
}

// keep has buffers stay although none is in use, until the returned function is called.
func (b *buffers) keep() (done func()) {
	b.kept.Add(1)
	return func() {
		b.kept.Add(-1)
		b.shed()
	}
}

// shed lets the buffers go when there is no work.
func (b *buffers) shed() {
	if len(b.slots) > 0 || b.kept.Load() > 0 {
		return
	}
	for {
		select {
		case <-b.free:
		default:
			return
		}
	}
}
