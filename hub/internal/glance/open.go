package glance

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

const (
	// chunkWait bounds the wait for one chunk while a site could send it.
	chunkWait = 2 * time.Minute
	// cachedWait bounds the wait for the first chunk when no site can: the hub itself has it at once or not at all.
	cachedWait = 250 * time.Millisecond
	// mostDownloads bounds how many downloads hold buffers, of chunksAhead chunks each.
	mostDownloads = 64
	chunksAhead   = 2
	// turnWait bounds how long a download waits for its turn.
	turnWait = time.Minute
)

// Open reads the bytes [offset, offset+length) of an image out of the staging area, which gets what it lacks from a store:
// the central one if it can be asked, else any other. Which store it is follows from who offers the content to the hub and
// holds for all readers, so prefer has no influence here; an agent that serves its own site reads its own copies.
// It returns when the first bytes are there. Only the chunks that the range touches are read, the next one while the
// present one is sent. Errors: Unavailable when no store can be read now or too many downloads run.
func (s *Server) Open(ctx context.Context, img *imageapi.Image, _ []string, offset, length int64) (io.ReadCloser, error) {
	wait := chunkWait
	if !s.readable(img) {
		wait = cachedWait
	}
	if length <= 0 {
		return io.NopCloser(strings.NewReader("")), nil
	}
	if err := s.takeTurn(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	d := &download{
		ctx: ctx, chunks: s.Chunks, content: img.ContentID, offset: offset, left: length, cancel: cancel,
		free: make(chan []byte, chunksAhead), full: make(chan chunk), ended: make(chan struct{}), release: func() { <-s.downloads },
	}
	for range chunksAhead {
		d.free <- make([]byte, manifest.ChunkSize)
	}
	go d.readAhead(wait)
	if err := d.advance(); err != nil {
		_ = d.Close()
		return nil, err
	}
	return d, nil
}

// readable reports whether some store with a copy could be asked now.
func (s *Server) readable(img *imageapi.Image) bool {
	for _, store := range img.Stores {
		if s.healthy(image.StoreID(store)) {
			return true
		}
	}
	return false
}

// takeTurn waits until one more download may hold buffers.
func (s *Server) takeTurn(ctx context.Context) error {
	timeout := time.NewTimer(turnWait)
	defer timeout.Stop()
	select {
	case s.downloads <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timeout.C:
		return fault.New(fault.Unavailable, "TOO_MANY_DOWNLOADS", "%d downloads are running; try again later", mostDownloads)
	}
}

// chunk is a chunk that was read, or why it could not be.
type chunk struct {
	buf []byte // whole buffer, to be given back
	b   []byte // the part of it that is wanted
	err error
}

// download is a running download. A goroutine reads chunks ahead; Close waits for it.
type download struct {
	ctx     context.Context
	chunks  Chunks
	content image.ID
	offset  int64 // of the next byte to read ahead
	left    int64 // bytes to read ahead
	cancel  context.CancelFunc
	free    chan []byte
	full    chan chunk // closed after the last
	ended   chan struct{}
	release func()

	now  chunk
	done bool
}

// readAhead reads the wanted parts of chunks in order. wait bounds each of them.
func (d *download) readAhead(wait time.Duration) {
	defer close(d.ended)
	defer close(d.full)
	for d.left > 0 {
		var c chunk
		select {
		case c.buf = <-d.free:
		case <-d.ctx.Done():
			return
		}
		c.b, c.err = d.read(c.buf, wait)
		select {
		case d.full <- c:
		case <-d.ctx.Done():
			return
		}
		if c.err != nil {
			return
		}
	}
}

// read reads the chunk at the offset and returns the wanted part.
func (d *download) read(buf []byte, wait time.Duration) ([]byte, error) {
	none := fault.New(fault.Unavailable, "NO_SOURCE", "no store with a copy of the image can be read now; try again later")
	ctx, cancel := context.WithTimeoutCause(d.ctx, wait, none)
	defer cancel()
	b, err := d.chunks.ReadChunk(ctx, d.content, int(d.offset/manifest.ChunkSize), buf)
	switch {
	case fault.Is(err, fault.NotFound) || fault.Is(err, fault.Precondition): // the hub has not learnt yet what the data is made of
		return nil, fault.Wrap(err, none.Class, none.Reason, "%s", none.Message)
	case err != nil:
		return nil, err
	}
	from := min(d.offset%manifest.ChunkSize, int64(len(b)))
	b = b[from:min(int64(len(b)), from+d.left)]
	if len(b) == 0 {
		return nil, fault.New(fault.Invalid, "OUT_OF_RANGE", "the range lies behind the end of the data")
	}
	d.offset += int64(len(b))
	d.left -= int64(len(b))
	return b, nil
}

// advance waits for the next chunk. io.EOF after the last.
func (d *download) advance() error {
	if d.now.buf != nil {
		d.free <- d.now.buf
		d.now = chunk{}
	}
	c, ok := <-d.full
	switch {
	case ok && c.err == nil:
		d.now = c
		return nil
	case ok:
		return c.err
	case d.ctx.Err() != nil:
		return context.Cause(d.ctx)
	}
	return io.EOF
}

// Read returns bytes in order. It blocks until they are there, or the context of Open ends.
func (d *download) Read(p []byte) (int, error) {
	for len(d.now.b) == 0 {
		if d.done {
			return 0, io.EOF
		}
		if err := d.advance(); err != nil {
			d.done = true
			return 0, err
		}
	}
	n := copy(p, d.now.b)
	d.now.b = d.now.b[n:]
	return n, nil
}

// Close ends the download and waits for what reads ahead.
func (d *download) Close() error {
	d.cancel()
	<-d.ended
	d.release()
	return nil
}
