package staging

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

const (
	// readerChunks is how many chunks a Reader keeps, of a frame each.
	readerChunks = 8
	// readAhead is how many chunks a Reader that goes from the first to the last loads before they are asked for.
	readAhead = 2
	// smallRead is the length in bytes up to which a Reader takes bytes from a frame it has checked before, instead of
	// loading all of it again: a disk whose clusters lie in no order would have it load a frame for each of them.
	smallRead = 256 << 10
)

// Reader reads the bytes of a content at any offset, also while it grows. Every frame is compared with its digest when it
// is loaded first. It is safe for concurrent use. It does not count as one of the readers that Need.Fills is about.
type Reader struct {
	a     *Area
	id    image.ID
	ctx   context.Context
	stop  context.CancelFunc
	local bool
	loads sync.WaitGroup

	mu      sync.Mutex
	slots   map[int]*slot
	order   []*slot       // in the order of last use, the oldest first
	free    chan struct{} // closed and replaced when a slot may have become free
	last    int           // chunk read last
	checked map[int]bool  // chunks whose frame was right
	closed  bool
}

// slot is a chunk in memory. Reader.mu guards holds; the rest does not change once done is closed.
type slot struct {
	index int
	holds int
	done  chan struct{}
	chunk []byte
	err   error
	buf   *[]byte // from scratch; chunk is part of it
}

// Reader returns a reader of a content. Its reads wait for what has not come, until ctx ends. The caller closes it.
func (a *Area) Reader(ctx context.Context, id image.ID) *Reader {
	r := &Reader{a: a, id: id, slots: map[int]*slot{}, checked: map[int]bool{}, free: make(chan struct{}), last: -1}
	r.ctx, r.stop = context.WithCancel(ctx)
	return r
}

// LocalReader is Reader, but reads fail with NotFound (ReasonNoChunk) instead of asking a site for a frame that is not
// here.
func (a *Area) LocalReader(ctx context.Context, id image.ID) *Reader {
	r := a.Reader(ctx, id)
	r.local = true
	return r
}

// Close ends reads that wait, frees the memory and waits until no file is open any more. It may be called again.
func (r *Reader) Close() error {
	r.stop()
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.loads.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.evict() {
	}
	return nil
}

// ReadAt reads until p is full or the content ends, which is io.EOF. It blocks until the bytes have come. Errors are those
// of Area.OpenFrame.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > manifest.MaxLength {
		return 0, fault.New(fault.Invalid, "BAD_OFFSET", "no content has a byte %d", off)
	}
	n := 0
	for n < len(p) {
		index, within := int((off+int64(n))/manifest.ChunkSize), int((off+int64(n))%manifest.ChunkSize)
		want := p[n:min(len(p), n+manifest.ChunkSize-within)]
		m, err := r.readChunk(want, index, within)
		n += m
		if err == nil && m < len(want) {
			err = io.EOF
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// readChunk reads from one chunk, from the offset within on, and returns less than p holds only at the content's end.
func (r *Reader) readChunk(p []byte, index, within int) (int, error) {
	zeroes, digest, err := r.a.awaitChunk(r.ctx, r.id, index)
	switch {
	case fault.ReasonOf(err) == ReasonNoChunk:
		return 0, io.EOF
	case err != nil:
		return 0, err
	case zeroes > 0:
		n := max(0, min(len(p), zeroes-within))
		clear(p[:n])
		return n, nil
	}
	if n, ok := r.readSmall(p, index, within); ok {
		return n, nil
	}
	s, err := r.hold(index, digest)
	if err != nil {
		return 0, err
	}
	defer r.drop(s)
	select {
	case <-s.done:
	case <-r.ctx.Done():
		return 0, context.Cause(r.ctx)
	}
	if s.err != nil || within >= len(s.chunk) {
		return 0, s.err
	}
	return copy(p, s.chunk[within:]), nil
}

// hold returns the slot of a chunk with a hold, and loads it if nobody does. It waits for a free one.
func (r *Reader) hold(index int, digest manifest.Digest) (*slot, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if r.closed {
			return nil, os.ErrClosed
		}
		s := r.slots[index]
		if s == nil {
			s = r.take(index, digest)
		}
		if s != nil {
			s.holds++
			r.used(s)
			r.ahead(index)
			return s, nil
		}
		free := r.free
		r.mu.Unlock()
		select {
		case <-free:
		case <-r.ctx.Done():
		}
		r.mu.Lock()
		if r.ctx.Err() != nil {
			return nil, context.Cause(r.ctx)
		}
	}
}

// ahead begins to load the chunks that a reader which goes in order will want next, if they are here. Lock held.
func (r *Reader) ahead(index int) {
	before := r.last
	r.last = index
	if index != before+1 || r.local {
		return
	}
	for next := index + 1; next <= index+readAhead; next++ {
		if r.slots[next] != nil {
			continue
		}
		if digest, here := r.a.frameHere(r.id, next); here && r.take(next, digest) == nil {
			return
		}
	}
}

// take makes a slot for a chunk and begins to load it, or returns nil when all are in use. Lock held.
func (r *Reader) take(index int, digest manifest.Digest) *slot {
	if len(r.order) >= readerChunks && !r.evict() {
		return nil
	}
	s := &slot{index: index, holds: 1, done: make(chan struct{}), buf: scratch.Get().(*[]byte)}
	r.slots[index] = s
	r.order = append(r.order, s)
	r.loads.Go(func() {
		s.chunk, s.err = r.load(index, digest, *s.buf)
		close(s.done)
		r.drop(s)
	})
	return s
}

// evict frees the slot that was not used for longest. Lock held.
func (r *Reader) evict() bool {
	for i, s := range r.order {
		if s.holds == 0 {
			r.order = append(r.order[:i], r.order[i+1:]...)
			r.forget(s)
			return true
		}
	}
	return false
}

// forget gives the memory of a slot back. Lock held.
func (r *Reader) forget(s *slot) {
	if r.slots[s.index] == s {
		delete(r.slots, s.index)
	}
	scratch.Put(s.buf)
}

// used makes a slot the one used last. Lock held.
func (r *Reader) used(s *slot) {
	for i, other := range r.order {
		if other == s {
			r.order = append(append(r.order[:i], r.order[i+1:]...), s)
			return
		}
	}
}

// drop ends a hold. A chunk that could not be loaded is tried again by whoever wants it next.
func (r *Reader) drop(s *slot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.holds--
	if s.holds > 0 {
		return
	}
	if s.err == nil {
		r.checked[s.index] = true
	} else if r.slots[s.index] == s {
		delete(r.slots, s.index)
	}
	if r.closed {
		r.evict()
	}
	close(r.free)
	r.free = make(chan struct{})
}

// load reads and checks the frame of a chunk. The result is part of buf.
func (r *Reader) load(index int, digest manifest.Digest, buf []byte) ([]byte, error) {
	for verify := false; ; verify = true {
		f, done, err := r.open(index, verify)
		if err != nil {
			return nil, err
		}
		chunk, err := loadFrame(f, digest, buf)
		done(false)
		if err == nil || verify || !fault.Is(err, fault.Corrupt) {
			return chunk, err
		}
	}
}

// open opens a frame, as OpenFrame does.
func (r *Reader) open(index int, verify bool) (*os.File, func(bool), error) {
	if _, here := r.a.frameHere(r.id, index); r.local && !here {
		return nil, nil, fault.New(fault.NotFound, ReasonNoChunk, "the frame of chunk %d is not here", index)
	}
	return r.a.OpenFrame(r.ctx, r.id, index, verify)
}

// loadFrame is readFrame with one buffer: another one is needed only for frames that are compressed.
func loadFrame(f *os.File, digest manifest.Digest, buf []byte) ([]byte, error) {
	b := scratch.Get().(*[]byte)
	defer scratch.Put(b)
	info, err := f.Stat()
	if err != nil {
		return nil, diskFault(err)
	}
	var head [frame.HeaderSize]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return nil, diskFault(err)
	}
	if h, err := frame.ParseHeader(head[:]); err == nil && h.Codec == frame.Raw {
		return readFrame(f, info.Size(), digest, buf, *b)
	}
	return readFrame(f, info.Size(), digest, *b, buf)
}

// readSmall reads a few bytes of a chunk that was checked before and is not in memory from its frame. ok is false when the
// chunk has to be loaded.
func (r *Reader) readSmall(p []byte, index, within int) (n int, ok bool) {
	r.mu.Lock()
	_, loaded := r.slots[index]
	small := len(p) <= smallRead && r.checked[index] && !loaded && !r.closed
	r.mu.Unlock()
	if _, here := r.a.frameHere(r.id, index); !small || !here {
		return 0, false
	}
	f, done, err := r.a.OpenFrame(r.ctx, r.id, index, false)
	if err != nil {
		return 0, false
	}
	defer done(false)
	var head [frame.HeaderSize]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return 0, false
	}
	h, err := frame.ParseHeader(head[:])
	if err != nil || h.Codec != frame.Raw {
		return 0, false
	}
	n = max(0, min(len(p), h.Raw-within))
	if n > 0 {
		if _, err := f.ReadAt(p[:n], int64(frame.HeaderSize+within)); err != nil && !errors.Is(err, io.EOF) {
			return 0, false
		}
	}
	return n, true
}

// frameHere reports whether the frame of a chunk is on disk, and returns its digest.
func (a *Area) frameHere(id image.ID, index int) (manifest.Digest, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.contents[id]
	if c == nil || c.state == gone || index >= len(c.digests) {
		return manifest.Digest{}, false
	}
	f := c.frames[index]
	return c.digests[index], f != nil && !f.dying
}
