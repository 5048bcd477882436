package glance

import (
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

const (
	// chunkWait bounds the wait for one chunk while a site could send it.
	chunkWait = 2 * time.Minute
	// preferWait bounds the wait for one chunk from a preferred store.
	preferWait = 5 * time.Second
	// cachedWait bounds the wait for the first chunk when no site can: the hub itself has it at once or not at all.
	cachedWait = 250 * time.Millisecond
	// mostDownloads bounds how many downloads hold buffers, of chunksAhead chunks each.
	mostDownloads = 64
	// projectDownloads bounds how many of them are one project's: whoever reads slowly does not keep others from reading.
	projectDownloads = 32
	chunksAhead      = 2
	// turnWait bounds how long a download waits for its turn.
	turnWait = time.Minute
)

// Open reads the bytes [offset, offset+length) of an image out of the staging area, which gets what it lacks from a store:
// the first in prefer that has a copy and can be asked, else the central one, else any other. What the staging area has
// is not asked for again. A preferred store that does not send in time is given up for the others.
// It returns when the first bytes are there. Only the chunks that the range touches are read, the next one while the
// present one is sent. Errors: Unavailable when no store can be read now or too many downloads run.
func (s *Server) Open(ctx context.Context, img *imageapi.Image, prefer []string, offset, length int64) (io.ReadCloser, error) {
	wait := chunkWait
	if !s.readable(img) {
		wait = cachedWait
	}
	if length <= 0 {
		return io.NopCloser(strings.NewReader("")), nil
	}
	give, err := s.takeTurn(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	d := &download{
		ctx: ctx, chunks: s.Chunks, content: img.ContentID, offset: offset, left: length, wait: wait, cancel: cancel,
		free: make(chan []byte, chunksAhead), full: make(chan chunk), ended: make(chan struct{}), release: give,
		settle: s.prefer(img, prefer), patience: s.preferWait,
	}
	for range chunksAhead {
		d.free <- make([]byte, manifest.ChunkSize)
	}
	go d.readAhead()
	if err := d.advance(); err != nil {
		_ = d.Close()
		return nil, err
	}
	return d, nil
}

// prefer makes the first store in the list that can be asked the source of an image, until the result is called. It is
// nil when there is none.
func (s *Server) prefer(img *imageapi.Image, list []string) (release func()) {
	for _, name := range list {
		if st, _ := s.Catalog.Read().Store(image.StoreID(name)); s.Sources != nil && slices.Contains(img.Stores, name) && s.healthy(image.StoreID(name)) {
			return s.Sources.Prefer(img.ContentID, image.SiteID(st.SiteId), image.StoreID(name))
		}
	}
	return nil
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
func (s *Server) takeTurn(ctx context.Context) (give func(), err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, turnWait, fault.New(fault.Unavailable, "TOO_MANY_DOWNLOADS",
		"%d downloads are running, or %d of your project; try again later", mostDownloads, projectDownloads))
	defer cancel()
	var project string
	if c := auth.From(ctx); c != nil {
		project = c.ProjectID
	}
	return s.downloads.Take(ctx, project)
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
	wait    time.Duration // longest wait for a chunk
	settle  func()        // ends the wish for a store; nil: there is none
	// patience is the longest wait for a chunk from that store.
	patience time.Duration

	now  chunk
	done bool
}

// readAhead reads the wanted parts of chunks in order.
func (d *download) readAhead() {
	defer close(d.ended)
	defer close(d.full)
	defer d.settleDown()
	for d.left > 0 {
		var c chunk
		select {
		case c.buf = <-d.free:
		case <-d.ctx.Done():
			return
		}
		c.b, c.err = d.read(c.buf)
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

// settleDown ends the wish for a store.
func (d *download) settleDown() {
	if d.settle != nil {
		d.settle()
		d.settle = nil
	}
}

// read reads the chunk at the offset and returns the wanted part.
func (d *download) read(buf []byte) ([]byte, error) {
	index := int(d.offset / manifest.ChunkSize)
	b, err := d.chunk(index, buf, d.wait)
	if err != nil {
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

// chunk reads a chunk, from the preferred store first.
func (d *download) chunk(index int, buf []byte, wait time.Duration) ([]byte, error) {
	none := fault.New(fault.Unavailable, "NO_SOURCE", "no store with a copy of the image can be read now; try again later")
	if d.settle != nil {
		b, err := d.within(min(wait, d.patience), index, buf, none)
		if err == nil || d.ctx.Err() != nil {
			return b, err
		}
		d.settleDown()
	}
	return d.within(wait, index, buf, none)
}

// within reads a chunk; none is the error when that takes too long or the hub has not learnt yet what the data is made of.
func (d *download) within(wait time.Duration, index int, buf []byte, none *fault.Error) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(d.ctx, wait, none)
	defer cancel()
	b, err := d.chunks.ReadChunk(ctx, d.content, index, buf)
	if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Precondition) {
		return nil, fault.Wrap(err, none.Class, none.Reason, "%s", none.Message)
	}
	return b, err
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
