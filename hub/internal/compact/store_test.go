package compact

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func noise(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // test data
	p := make([]byte, n)
	for i := 0; i+8 <= n; i += 8 {
		binary.LittleEndian.PutUint64(p[i:], r.Uint64())
	}
	return p
}

// contents is a staging area in memory.
type contents struct {
	mu    sync.Mutex
	data  map[image.ID][]byte
	reads map[image.ID]int
	fail  error
}

func (c *contents) chunk(id image.ID, i int) []byte {
	d := c.data[id]
	return d[i*manifest.ChunkSize : min(len(d), (i+1)*manifest.ChunkSize)]
}

func (c *contents) ReadChunk(ctx context.Context, id image.ID, i int, buf []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads[id]++
	if c.fail != nil {
		return nil, c.fail
	}
	if c.data[id] == nil {
		return nil, fault.New(fault.NotFound, "CONTENT_UNKNOWN", "not known")
	}
	return append(buf[:0], c.chunk(id, i)...), ctx.Err()
}

func (c *contents) Manifest(id image.ID) (*manifest.Manifest, manifest.Digest, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.data[id] == nil {
		return nil, manifest.Digest{}, fault.New(fault.NotFound, "CONTENT_UNKNOWN", "not known")
	}
	m := &manifest.Manifest{Length: int64(len(c.data[id]))}
	for i := range (len(c.data[id]) + manifest.ChunkSize - 1) / manifest.ChunkSize {
		m.Chunks = append(m.Chunks, frame.ChunkDigest(c.chunk(id, i)))
	}
	return m, m.Root(frame.Sum), nil
}

type reader struct{ *bytes.Reader }

func (reader) Close() error { return nil }

func (c *contents) Open(_ context.Context, id image.ID) Reader {
	c.mu.Lock()
	defer c.mu.Unlock()
	return reader{bytes.NewReader(c.data[id])}
}

const (
	oldID = image.ID("00000000-0000-4000-8000-000000000001")
	newID = image.ID("00000000-0000-4000-8000-000000000002")
)

// start returns a running store with two versions of an image: 8 MiB of noise and a hole, and the same moved by a few bytes.
func start(t *testing.T, limit int64) (*Store, *contents) {
	t.Helper()
	a := slices.Concat(noise(1, 6<<20), make([]byte, 4<<20), noise(2, 2<<20))
	b := slices.Concat([]byte("moved"), a[:6<<20], noise(3, 100_000), a[6<<20:])
	c := &contents{data: map[image.ID][]byte{oldID: a, newID: b}, reads: map[image.ID]int{}}
	s, err := New(Options{Dir: filepath.Join(t.TempDir(), "compact"), Limit: limit, Contents: c, Patience: time.Minute, Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return s, c
}

// open returns a frame, nil when there is none that is shorter.
func open(t *testing.T, s *Store, id image.ID, i int, base image.ID) []byte {
	t.Helper()
	f, err := s.Open(t.Context(), id, i, base)
	if err != nil {
		t.Fatal(err)
	}
	if f == nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What a site has is not sent again, wherever it is; what is new and does not compress is sent as it is.
func TestChunksAgainstABase(t *testing.T) {
	t.Parallel()
	s, c := start(t, 1<<30)
	var sent int
	for i := range 4 {
		b := open(t, s, newID, i, oldID)
		if h, err := frame.ParseHeader(b); err != nil || h.Size() != len(b) || h.Raw != len(c.chunk(newID, i)) {
			t.Fatalf("chunk %d: %+v, %v", i, h, err)
		}
		sent += len(b)
	}
	if sent > 102_000 {
		t.Errorf("%d bytes are sent for 100,005 that are new", sent)
	}
	before := c.reads[newID]
	open(t, s, newID, 0, oldID)
	if c.reads[newID] != before {
		t.Error("a frame was made twice")
	}
}

// A client that has the base gets the chunk over HTTP; one whose base is damaged learns that.
func TestShortFramesOverHTTP(t *testing.T) {
	t.Parallel()
	s, c := start(t, 1<<30)
	path := filepath.Join(t.TempDir(), "s")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	handler := frame.NewHandler(nil, frame.HandlerOptions{Compact: s, FrameWait: time.Minute})
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: handler}} //nolint:gosec // a test
	server.Start()
	defer server.Close()
	e, err := frame.ParseEndpoint("hub", "unix:"+path)
	if err != nil {
		t.Fatal(err)
	}
	transport := frame.NewTransport(e, nil)
	defer transport.CloseIdleConnections()
	client := frame.NewClient(e, &http.Client{Transport: transport})
	want := frame.Sum(c.chunk(newID, 1))
	buf := make([]byte, manifest.ChunkSize)
	base := &frame.Base{Content: oldID, Bytes: bytes.NewReader(c.data[oldID])}
	raw, wire, err := client.GetCompact(t.Context(), newID, 1, want, buf, base)
	if err != nil || !bytes.Equal(raw, c.chunk(newID, 1)) || wire > 200_000 {
		t.Errorf("%d bytes for %d: %v", wire, len(raw), err)
	}
	damaged := slices.Clone(c.data[oldID])
	for i := range damaged {
		damaged[i] ^= 1
	}
	base.Bytes = bytes.NewReader(damaged)
	if _, _, err := client.GetCompact(t.Context(), newID, 1, want, buf, base); !fault.Is(err, fault.Corrupt) {
		t.Errorf("a damaged base: %v", err)
	}
}

// Text is compressed for everybody; a base that is not known does not matter.
func TestChunksWithoutABase(t *testing.T) {
	t.Parallel()
	s, c := start(t, 1<<30)
	const id = image.ID("00000000-0000-4000-8000-000000000003")
	c.data[id] = bytes.Repeat([]byte("all work and no play "), 100_000)
	for _, base := range []image.ID{"", "00000000-0000-4000-8000-000000000009"} {
		b := open(t, s, id, 0, base)
		if raw, err := frame.Decode(b, make([]byte, 0, manifest.ChunkSize)); err != nil || !bytes.Equal(raw, c.data[id]) || len(b) > 10_000 {
			t.Errorf("%d bytes: %v", len(b), err)
		}
	}
	if f, err := s.Open(t.Context(), "00000000-0000-4000-8000-000000000008", 0, ""); f != nil || !fault.Is(err, fault.NotFound) {
		t.Errorf("an unknown content: %v", err)
	}
}

// The cache keeps its limit; what was not used for longest goes.
func TestLimit(t *testing.T) {
	t.Parallel()
	s, c := start(t, 100_000)
	ids := []image.ID{}
	for i := range 10 {
		id := image.NewID()
		ids = append(ids, id)
		c.mu.Lock()
		c.data[id] = slices.Concat(noise(uint64(10+i), 30_000), make([]byte, 1<<20))
		c.mu.Unlock()
		if open(t, s, id, 0, "") == nil {
			t.Fatal("zeroes are not compressed")
		}
		open(t, s, ids[0], 0, "")
	}
	s.mu.Lock()
	used, groups := s.used, len(s.groups)
	s.mu.Unlock()
	left, err := os.ReadDir(s.o.Dir)
	if err != nil || used > 100_000 || groups > 3 || s.groups[group{ids[0], ""}] == nil {
		t.Errorf("%d bytes in %d groups, %d directories: %v", used, groups, len(left), err)
	}
}

// A failure is told and not remembered.
func TestFailureIsNotKept(t *testing.T) {
	t.Parallel()
	s, c := start(t, 1<<30)
	c.fail = fault.New(fault.Unavailable, "STAGING_DISK", "broken")
	if _, err := s.Open(t.Context(), newID, 1, ""); !fault.Is(err, fault.Unavailable) {
		t.Errorf("got %v", err)
	}
	c.fail = nil
	open(t, s, newID, 1, "")
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.groups[group{newID, ""}].chunks[1]; e == nil || e.err != nil {
		t.Errorf("got %+v", e)
	}
}

// Many sites that ask at once make one frame.
func TestManySites(t *testing.T) {
	t.Parallel()
	s, c := start(t, 1<<30)
	if b := open(t, s, newID, 0, oldID); len(b) > 1000 {
		t.Fatalf("%d bytes", len(b))
	}
	before := c.reads[newID]
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			f, err := s.Open(context.Background(), newID, 1, oldID)
			if err != nil || f == nil {
				t.Errorf("got %v, %v", f, err)
				return
			}
			_ = f.Close()
		})
	}
	wg.Wait()
	if n := c.reads[newID] - before; n != 1 {
		t.Errorf("the chunk was read %d times", n)
	}
}
