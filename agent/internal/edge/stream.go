package edge

import (
	"context"
	"io"
	"sync"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
)

// stream reads a range of a snapshot in order, a few chunks ahead of its reader. One goroutine at a time uses it.
type stream struct {
	ctx    context.Context
	cancel context.CancelFunc
	snap   rbd.Snapshot
	free   func() // gives the place among the downloads back

	off, left int64      // what has not been asked for
	ahead     []*segment // asked for, in order
	spare     [][]byte   // buffers at rest
	err       error      // sticky

	reads sync.WaitGroup
	once  sync.Once
}

// segment is one read.
type segment struct {
	buf  []byte
	rest []byte // not handed out yet
	done chan error
}

// newStream takes over snap. free is called when all reads have ended.
func newStream(ctx context.Context, snap rbd.Snapshot, offset, length int64, free func()) *stream {
	s := &stream{snap: snap, free: free, off: offset, left: length}
	s.ctx, s.cancel = context.WithCancel(ctx)
	for range window {
		s.ask()
	}
	return s
}

// ask begins the next read if there is one.
func (s *stream) ask() {
	if s.left == 0 || s.err != nil {
		return
	}
	n := block(s.off, s.left)
	var buf []byte
	if last := len(s.spare) - 1; last >= 0 {
		buf, s.spare = s.spare[last], s.spare[:last]
	}
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	g, off := &segment{buf: buf[:n], done: make(chan error, 1)}, s.off
	g.rest = g.buf
	s.off, s.left = s.off+int64(n), s.left-int64(n)
	s.ahead = append(s.ahead, g)
	s.reads.Go(func() { g.done <- s.snap.ReadAt(s.ctx, g.buf, off) })
}

// head waits for the oldest read and returns it; nil after the last one.
func (s *stream) head() (*segment, error) {
	if s.err != nil || len(s.ahead) == 0 {
		return nil, s.err
	}
	g := s.ahead[0]
	if g.done != nil {
		if s.err = <-g.done; s.err != nil {
			return nil, s.err
		}
		g.done = nil
	}
	return g, nil
}

// pass notes that n bytes of the oldest read have been handed out, and reads on when it is used up.
func (s *stream) pass(g *segment, n int) {
	if g.rest = g.rest[n:]; len(g.rest) > 0 {
		return
	}
	s.ahead = s.ahead[1:]
	s.spare = append(s.spare, g.buf)
	s.ask()
}

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) {
	g, err := s.head()
	if err != nil {
		return 0, err
	}
	if g == nil {
		return 0, io.EOF
	}
	n := copy(p, g.rest)
	s.pass(g, n)
	return n, nil
}

// Close ends the reads and waits for them.
func (s *stream) Close() error {
	var err error
	s.once.Do(func() {
		s.cancel()
		s.reads.Wait()
		err = s.snap.Close()
		s.free()
	})
	return err
}
