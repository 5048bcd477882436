package staging

import (
	"context"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// PutFrame checks the frame of a chunk of a complete content against its digest and stores it. The frame is not kept by
// the area; one that is there already stays, which is a success. It waits for space. Errors: those of Follow; NotFound
// (ReasonNoChunk); Precondition (ReasonGrowing); Corrupt (frame.ReasonCorrupt); Exhausted (ReasonFull) when ctx ended
// during the wait for space; Unavailable (ReasonDisk). After an error the chunk is asked for again at once.
func (a *Area) PutFrame(ctx context.Context, id image.ID, index int, b []byte) error {
	c, digest, length, err := a.beginPut(ctx, id, index)
	if c == nil {
		return err
	}
	if err = a.checkFrame(id, index, b, digest, length); err != nil {
		a.m.corrupt.Inc()
		a.o.Log.Warn("an agent sent a corrupt frame", "content", id, "chunk", index, "error", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		err = a.storePut(ctx, c, index, b)
	}
	close(c.arriving[index])
	delete(c.arriving, index)
	if err != nil {
		delete(c.demand.leases, index)
		c.demand.wake()
	}
	return err
}

// storePut stores a checked frame. Lock held, released meanwhile.
func (a *Area) storePut(ctx context.Context, c *content, index int, b []byte) error {
	size := int64(len(b))
	if err := a.reserve(ctx, c, size); err != nil {
		return err
	}
	a.mu.Unlock()
	err := a.write(ctx, c, index, b)
	a.mu.Lock()
	if err == nil && c.state == gone {
		_ = a.disk.Remove(c.framePath(index))
		err = c.cause
	}
	if err != nil {
		a.release(size)
		return err
	}
	c.demand.offered += size
	a.m.offered.Add(float64(size))
	a.arrived(&file{c: c, index: index, size: size, last: a.o.Now()})
	return nil
}

// beginPut waits until nobody else stores or removes the frame and reserves the place. The content is nil when there is
// nothing to do.
func (a *Area) beginPut(ctx context.Context, id image.ID, index int) (*content, manifest.Digest, int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		var busy <-chan struct{}
		c, err := a.lookup(id)
		switch {
		case err != nil:
			return nil, manifest.Digest{}, 0, err
		case c.state != complete:
			return nil, manifest.Digest{}, 0, fault.New(fault.Precondition, ReasonGrowing, "content %s is still arriving", id)
		case index < 0 || index >= len(c.digests) || c.digests[index].IsZero():
			return nil, manifest.Digest{}, 0, fault.New(fault.NotFound, ReasonNoChunk, "the content has no frame %d", index)
		case c.arriving[index] != nil:
			busy = c.arriving[index]
		case c.frames[index] == nil:
			c.arriving[index] = make(chan struct{})
			return c, c.digests[index], c.chunkLen(index), nil
		case c.frames[index].dying:
			busy = a.freed
		default:
			return nil, manifest.Digest{}, 0, nil
		}
		if err := a.wait(ctx, busy); err != nil {
			return nil, manifest.Digest{}, 0, err
		}
	}
}

// checkFrame returns a Corrupt error unless b is the frame of a chunk with the digest and length, and takes the chunk up.
func (a *Area) checkFrame(id image.ID, index int, b []byte, digest manifest.Digest, length int) error {
	h, err := frame.ParseHeader(b)
	if err != nil {
		return err
	}
	if h.Raw != length {
		return fault.New(fault.Corrupt, frame.ReasonCorrupt, "frame: the chunk has %d bytes, not %d", h.Raw, length)
	}
	var into []byte
	if h.Codec != frame.Raw {
		buf := scratch.Get().(*[]byte)
		defer scratch.Put(buf)
		into = *buf
	}
	raw, err := frame.Decode(b, into)
	if err != nil {
		return err
	}
	if err := frame.Verify(raw, digest); err != nil {
		return err
	}
	a.passes(id, index, raw)
	return nil
}
