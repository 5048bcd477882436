package replica

import (
	"context"

	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// buffers is a bounded stock of chunk buffers. Fresh memory costs more than the copy that goes through it, so buffers
// are kept while there is work; all go when the last one comes back.
type buffers struct {
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
	if len(b.slots) > 0 {
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
