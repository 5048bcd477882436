package replica

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// fakeHub keeps contents in memory and serves them with the real handler over a unix socket.
type fakeHub struct {
	t      *testing.T
	dir    string
	server *http.Server
	client *frame.Client

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced at every change
	contents map[image.ID]*fakeContent
	down     bool                      // every request is answered with 503
	awaited  map[image.ID]manifest.End // manifests that a site may send
	taken    map[image.ID]*manifest.Manifest

	shorter atomic.Pointer[shorter] // nil: frames come as they are
}

// Open implements frame.Compact.
func (h *fakeHub) Open(ctx context.Context, content image.ID, index int, base image.ID) (*os.File, error) {
	s := h.shorter.Load()
	if s == nil {
		return nil, nil
	}
	return s.Open(ctx, content, index, base)
}

type fakeContent struct {
	data     []byte
	man      manifest.Manifest
	root     manifest.Digest
	shown    int // chunks that the manifest shows so far
	complete bool
	gone     bool
	missing  map[int]bool // frames that have to be offered
	damage   map[int]int  // how often a frame is served damaged
	served   map[int]int  // how often a frame was served
	verified int          // requests to check the frame first
	demanded []int
	codec    frame.Codec
	frames   map[int][]byte // encoded so far
}

func newFakeHub(t *testing.T) *fakeHub {
	t.Helper()
	dir := memDir(t) // t.TempDir may be too long for a socket
	h := &fakeHub{t: t, dir: dir, changed: make(chan struct{}), contents: map[image.ID]*fakeContent{}}
	h.awaited, h.taken = map[image.ID]manifest.End{}, map[image.ID]*manifest.Manifest{}
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	frames := frame.NewHandler(h, frame.HandlerOptions{
		FrameWait: 50 * time.Millisecond, PollWait: 50 * time.Millisecond, KeepAlive: 20 * time.Millisecond, Manifests: h, Compact: h,
	})
	h.server = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		down := h.down
		h.mu.Unlock()
		if down {
			frame.WriteFault(w, fault.New(fault.Unavailable, "HUB_DOWN", "the hub is down"))
			return
		}
		frames.ServeHTTP(w, r)
	})}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = h.server.Serve(l)
	}()
	e, err := frame.ParseEndpoint("hub", "unix:"+socket)
	if err != nil {
		t.Fatal(err)
	}
	tr := frame.NewTransport(e, nil)
	h.client = frame.NewClient(e, &http.Client{Transport: tr})
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		_ = h.server.Close()
		<-served
	})
	return h
}

var patterns = map[string][]byte{}

// pattern returns the bytes of a content, one letter a chunk: d random data, h data and then zeroes, z zeroes, p a short
// chunk of data, which must be the last. They must not be changed.
func pattern(seed uint64, layout string) []byte {
	name := fmt.Sprint(seed, layout)
	if out := patterns[name]; out != nil {
		return out
	}
	var out []byte
	src := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 1})
	for _, c := range layout {
		b := make([]byte, manifest.ChunkSize)
		switch c {
		case 'd':
			_, _ = src.Read(b)
		case 'h':
			_, _ = src.Read(b[:1000])
		case 'p':
			b = b[:100_001]
			_, _ = src.Read(b)
		}
		out = append(out, b...)
	}
	patterns[name] = out
	return out
}

// add makes a complete content.
func (h *fakeHub) add(id image.ID, data []byte) *fakeContent {
	c := h.begin(id, data)
	h.change(func() { c.shown, c.complete = len(c.man.Chunks), true })
	return c
}

// begin makes a content of which nothing has arrived.
func (h *fakeHub) begin(id image.ID, data []byte) *fakeContent {
	c := &fakeContent{data: data, missing: map[int]bool{}, damage: map[int]int{}, served: map[int]int{}, frames: map[int][]byte{}}
	c.man.Length = int64(len(data))
	for i := range manifest.Count(c.man.Length) {
		c.man.Chunks = append(c.man.Chunks, frame.ChunkDigest(c.chunk(i)))
	}
	c.root = c.man.Root(frame.Sum)
	h.change(func() { h.contents[id] = c })
	return c
}

func (c *fakeContent) chunk(i int) []byte {
	off := i * manifest.ChunkSize
	return c.data[off : off+manifest.ChunkLen(c.man.Length, i)]
}

// change runs f with the lock held and wakes all who wait.
func (h *fakeHub) change(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	close(h.changed)
	h.changed = make(chan struct{})
}

// fetched returns how many frames were served in all.
func (h *fakeHub) fetched(c *fakeContent) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, k := range c.served {
		n += k
	}
	return n
}

// until waits until f says it is done.
func (h *fakeHub) until(ctx context.Context, id image.ID, f func(c *fakeContent) (bool, error)) error {
	for {
		h.mu.Lock()
		c, changed := h.contents[id], h.changed
		switch {
		case c == nil:
			h.mu.Unlock()
			return fault.New(fault.NotFound, "CONTENT_UNKNOWN", "no such content")
		case c.gone:
			h.mu.Unlock()
			return fault.New(fault.Precondition, manifest.ReasonGone, "the source failed")
		}
		done, err := f(c)
		h.mu.Unlock()
		if done || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Follow implements frame.Store.
func (h *fakeHub) Follow(ctx context.Context, id image.ID, from int) (out []manifest.Digest, end *manifest.End, err error) {
	err = h.until(ctx, id, func(c *fakeContent) (bool, error) {
		if c.complete {
			end = &manifest.End{Length: c.man.Length, Root: c.root}
		}
		if from < c.shown {
			out = c.man.Chunks[from:c.shown]
		}
		return len(out) > 0 || end != nil, nil
	})
	return out, end, err
}

// OpenFrame implements frame.Store.
func (h *fakeHub) OpenFrame(ctx context.Context, id image.ID, i int, verify bool) (*os.File, func(bool), error) {
	var b []byte
	err := h.until(ctx, id, func(c *fakeContent) (bool, error) {
		if i >= len(c.man.Chunks) {
			return false, fault.New(fault.NotFound, "CHUNK_UNKNOWN", "no such chunk")
		}
		if verify {
			c.verified++
		}
		if c.missing[i] {
			c.demanded = append(c.demanded, i)
			return false, nil
		}
		if c.frames[i] == nil {
			var err error
			if c.frames[i], err = frame.Encode(nil, c.chunk(i), c.codec); err != nil {
				return false, err
			}
		}
		b = c.frames[i]
		if c.damage[i] > 0 {
			c.damage[i]--
			b = slices.Clone(b)
			b[len(b)-1] ^= 1
		}
		c.served[i]++
		return true, nil
	})
	if err != nil {
		return nil, nil, err
	}
	f, err := os.CreateTemp(h.dir, "frame")
	if err != nil {
		return nil, nil, err
	}
	_ = os.Remove(f.Name())
	if _, err := f.Write(b); err != nil {
		return nil, nil, err
	}
	_, err = f.Seek(0, io.SeekStart)
	return f, func(bool) { _ = f.Close() }, err
}

// PutFrame implements frame.Store.
func (h *fakeHub) PutFrame(_ context.Context, id image.ID, i int, b []byte) error {
	raw, err := frame.Decode(b, make([]byte, manifest.ChunkSize))
	if err != nil {
		return err
	}
	h.mu.Lock()
	c := h.contents[id]
	h.mu.Unlock()
	if err := frame.Verify(raw, c.man.Chunks[i]); err != nil {
		return err
	}
	h.change(func() { delete(c.missing, i) })
	return nil
}

// Demand implements frame.Store.
func (h *fakeHub) Demand(ctx context.Context, id image.ID, most int) (out []int, err error) {
	err = h.until(ctx, id, func(c *fakeContent) (bool, error) {
		n := min(most, len(c.demanded))
		out, c.demanded = c.demanded[:n], c.demanded[n:]
		return n > 0, nil
	})
	return out, err
}

// Expect implements frame.Manifests.
func (h *fakeHub) Expect(_ context.Context, id image.ID) (manifest.End, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	end, ok := h.awaited[id]
	if !ok {
		return end, fault.New(fault.Unavailable, "COPY_UNCONFIRMED", "not yet")
	}
	return end, nil
}

// Adopt implements frame.Manifests.
func (h *fakeHub) Adopt(_ context.Context, id image.ID, m *manifest.Manifest) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.taken[id] = m
	return nil
}

func (h *fakeHub) manifestOf(id image.ID) *manifest.Manifest {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.taken[id]
}
