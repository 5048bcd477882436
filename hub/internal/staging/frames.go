package staging

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// scratch holds buffers for one frame.
var scratch = sync.Pool{New: func() any { b := make([]byte, frame.MaxSize); return &b }}

// hold waits until the frame of a chunk is here and returns it with a hold, which keeps it until drop. Lock held, released
// meanwhile.
func (a *Area) hold(ctx context.Context, id image.ID, index int) (*content, *file, error) {
	for looked := false; ; {
		c, err := a.lookup(id)
		switch {
		case err != nil:
			return nil, nil, err
		case index < 0 || c.end != nil && index >= len(c.digests):
			return nil, nil, fault.New(fault.NotFound, ReasonNoChunk, "the content has %d chunks", len(c.digests))
		case index >= len(c.digests):
			if err := a.wait(ctx, c.grown); err != nil {
				return nil, nil, err
			}
			continue
		case c.digests[index].IsZero():
			return nil, nil, fault.New(fault.NotFound, ReasonNoChunk, "chunk %d holds zeroes only and has no frame", index)
		}
		if !looked {
			a.lookAhead(c, index)
			looked = true
		}
		f := c.frames[index]
		if f != nil && !f.dying {
			f.holds++
		} else if f, err = a.awaitFrame(ctx, c, index); err != nil {
			return nil, nil, err
		}
		if f != nil {
			f.last = a.o.Now()
			return c, f, nil
		}
	}
}

// drop ends a hold. Lock held.
func (a *Area) drop(f *file) {
	f.holds--
	if f.holds > 0 {
		return
	}
	if f.dropped {
		a.free(f.size)
	}
	if a.waiting > 0 && (f.dropped || a.rank(f, a.o.Now()) < never) {
		a.wakeWaiting()
	}
}

// OpenFrame waits until the frame of a chunk is here and opens it. The caller reads it from its start and calls done
// once, which closes it; served says whether a reader got all of it. With verify the frame is compared with its digest
// first; a damaged frame is counted, logged and removed, and OpenFrame waits for another one. Errors: those of Follow;
// NotFound (ReasonNoChunk) for a chunk that does not exist or holds zeroes only; Corrupt (ReasonDamaged) when the frame is
// damaged and the only copy.
func (a *Area) OpenFrame(ctx context.Context, id image.ID, index int, verify bool) (*os.File, func(served bool), error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		c, f, err := a.hold(ctx, id, index)
		if err != nil {
			return nil, nil, err
		}
		digest := c.digests[index]
		a.mu.Unlock()
		opened, err := openFrame(c.framePath(index), f.size)
		if err == nil && verify {
			if err = verifyFrame(opened, f.size, digest); err != nil {
				_ = opened.Close()
			}
		}
		a.mu.Lock()
		switch {
		case err == nil:
			return opened, func(served bool) { a.closeFrame(opened, f, served) }, nil
		case !fault.Is(err, fault.Corrupt):
			a.drop(f)
			return nil, nil, err
		}
		if err := a.damaged(f, err); err != nil {
			return nil, nil, err
		}
	}
}

func (a *Area) closeFrame(opened *os.File, f *file, served bool) {
	_ = opened.Close()
	a.mu.Lock()
	defer a.mu.Unlock()
	if served {
		f.reads++
		a.m.served.Add(float64(f.size))
	}
	a.drop(f)
}

// openFrame opens a frame and checks that its header fits its size, which catches files that lost their end with the
// power of the machine.
func openFrame(path string, size int64) (*os.File, error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.Wrap(err, fault.Corrupt, ReasonDamaged, "the frame is lost")
	case err != nil:
		return nil, diskFault(err)
	}
	var b [frame.HeaderSize]byte
	_, err = f.ReadAt(b[:], 0)
	info, statErr := f.Stat()
	if err = errors.Join(err, statErr); errors.Is(err, io.EOF) {
		err = fault.Wrap(err, fault.Corrupt, ReasonDamaged, "the frame is cut")
	} else if err != nil {
		err = diskFault(err)
	} else if h, bad := frame.ParseHeader(b[:]); bad != nil {
		err = bad
	} else if int64(h.Size()) != info.Size() || info.Size() != size {
		err = fault.New(fault.Corrupt, ReasonDamaged, "the frame is cut")
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func verifyFrame(f *os.File, size int64, digest manifest.Digest) error {
	buf := scratch.Get().(*[]byte)
	defer scratch.Put(buf)
	raw := scratch.Get().(*[]byte)
	defer scratch.Put(raw)
	_, err := readFrame(f, size, digest, *buf, *raw)
	return err
}

// readFrame reads and checks a whole frame. The result is part of buf or of raw.
func readFrame(f *os.File, size int64, digest manifest.Digest, buf, raw []byte) ([]byte, error) {
	if _, err := f.ReadAt(buf[:size], 0); err != nil {
		return nil, diskFault(err)
	}
	chunk, err := frame.Decode(buf[:size], raw)
	if err != nil {
		return nil, err
	}
	return chunk, frame.Verify(chunk, digest)
}

// damaged removes a frame that is held by the caller and damaged. It returns an error when it was the only copy. Lock
// held, released meanwhile.
func (a *Area) damaged(f *file, cause error) error {
	c := f.c
	a.drop(f)
	if c.state == gone || c.frames[f.index] != f || f.dying {
		return nil // look again
	}
	a.m.damaged.Inc()
	pinned := f.index >= a.pin(c)
	a.o.Log.Error("frame is damaged", "content", c.id, "chunk", f.index, "only_copy", pinned, "error", cause)
	if pinned {
		return fault.Wrap(cause, fault.Corrupt, ReasonDamaged, "the only copy of chunk %d is damaged", f.index)
	}
	if !a.remove(f, causeDamaged) {
		return fault.Wrap(cause, fault.Unavailable, ReasonDisk, "the frame of chunk %d is damaged and cannot be removed", f.index)
	}
	return nil
}

// ReadChunk waits until a chunk is here and returns its bytes, checked against the digest, in buf, whose capacity must be
// manifest.ChunkSize. Zero chunks need no frame. Errors are those of OpenFrame, except that the end of the content is
// NotFound (ReasonNoChunk). It blocks until ctx ends while nobody sends the chunk.
func (a *Area) ReadChunk(ctx context.Context, id image.ID, index int, buf []byte) ([]byte, error) {
	if cap(buf) < manifest.ChunkSize {
		return nil, fault.New(fault.Invalid, "SHORT_BUFFER", "the buffer must hold %d bytes", manifest.ChunkSize)
	}
	for verify := false; ; verify = true {
		zeroes, digest, err := a.awaitChunk(ctx, id, index)
		if err != nil {
			return nil, err
		}
		if zeroes > 0 {
			clear(buf[:zeroes])
			return buf[:zeroes], nil
		}
		opened, done, err := a.OpenFrame(ctx, id, index, verify)
		if err != nil {
			return nil, err
		}
		chunk, err := readChunk(opened, digest, buf)
		done(err == nil)
		if err == nil {
			a.passes(id, index, chunk)
		}
		if err == nil || verify || !fault.Is(err, fault.Corrupt) {
			return chunk, err
		}
	}
}

// awaitChunk waits until the digest of a chunk is known, and returns it, or the length of a chunk of zeroes.
func (a *Area) awaitChunk(ctx context.Context, id image.ID, index int) (zeroes int, digest manifest.Digest, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		c, err := a.lookup(id)
		switch {
		case err != nil:
			return 0, digest, err
		case index < 0 || c.end != nil && index >= len(c.digests):
			return 0, digest, fault.New(fault.NotFound, ReasonNoChunk, "the content has %d chunks", len(c.digests))
		case index < len(c.digests):
			if digest = c.digests[index]; digest.IsZero() {
				zeroes = c.chunkLen(index)
			}
			return zeroes, digest, nil
		}
		if err := a.wait(ctx, c.grown); err != nil {
			return 0, digest, err
		}
	}
}

func readChunk(f *os.File, digest manifest.Digest, buf []byte) ([]byte, error) {
	b := scratch.Get().(*[]byte)
	defer scratch.Put(b)
	info, err := f.Stat()
	if err != nil {
		return nil, diskFault(err)
	}
	chunk, err := readFrame(f, info.Size(), digest, *b, buf)
	if err != nil {
		return nil, err
	}
	return buf[:copy(buf[:len(chunk)], chunk)], nil
}
