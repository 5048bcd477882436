package compact

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// onDisk returns the bytes of all files below a directory.
func onDisk(t *testing.T, dir string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// One image alone takes no more than the limit, however long it is.
func TestLimitHoldsForOneImage(t *testing.T) {
	t.Parallel()
	const limit = 400_000
	s, c := start(t, limit)
	const id = image.ID("00000000-0000-4000-8000-000000000004")
	half := append(noise(4, 100_000), make([]byte, manifest.ChunkSize-100_000)...)
	c.data[id] = bytes.Repeat(half, 12)
	for i := range 12 {
		if open(t, s, id, i, "") == nil {
			t.Fatal("chunk", i, "is not compressed")
		}
		if used := onDisk(t, s.o.Dir); used > limit {
			t.Fatalf("%d bytes are on disk", used)
		}
	}
	s.mu.Lock()
	used, entries := s.used, s.entries
	s.mu.Unlock()
	if used != onDisk(t, s.o.Dir) || entries != len(s.groups[group{id, ""}].chunks) || entries < 2 {
		t.Errorf("%d bytes and %d entries are counted", used, entries)
	}
	if open(t, s, id, 0, "") == nil {
		t.Error("what went is not made again")
	}
}

// What is known of chunks that do not get shorter takes memory too.
func TestEntriesAreBounded(t *testing.T) {
	t.Parallel()
	s, c := start(t, 1<<30)
	s.most = 5
	for i := range 20 {
		id := image.NewID()
		c.mu.Lock()
		c.data[id] = noise(uint64(i), 4096)
		c.mu.Unlock()
		if open(t, s, id, 0, "") != nil {
			t.Fatal("noise is compressed")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries > 5 || len(s.groups) != s.entries {
		t.Errorf("%d entries in %d groups", s.entries, len(s.groups))
	}
}

// stuck is contents of which one is away: whoever reads it waits.
type stuck struct {
	*contents
	away image.ID
	late bool // only after it was indexed
}

func (s stuck) ReadChunk(ctx context.Context, id image.ID, i int, buf []byte) ([]byte, error) {
	if id == s.away && !s.late {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	return s.contents.ReadChunk(ctx, id, i, buf)
}

func (s stuck) Open(ctx context.Context, _ image.ID) Reader { return waiting{ctx} }

type waiting struct{ ctx context.Context }

func (w waiting) ReadAt([]byte, int64) (int, error) {
	<-w.ctx.Done()
	return 0, w.ctx.Err()
}

func (waiting) Close() error { return nil }

// A base whose data does not come holds up neither sites nor the end of the hub.
func TestBaseThatIsAway(t *testing.T) {
	t.Parallel()
	text := bytes.Repeat([]byte("all work and no play "), 100_000)
	for name, late := range map[string]bool{"when it is indexed": false, "when chunks are compared": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &contents{data: map[image.ID][]byte{oldID: text, newID: text}, reads: map[image.ID]int{}}
			s, err := New(Options{
				Dir: filepath.Join(t.TempDir(), "compact"), Limit: 1 << 30, Contents: stuck{c, oldID, late},
				Patience: 30 * time.Millisecond, Log: hclog.NewNullLogger(),
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = s.Run(ctx)
			}()
			for range 2 {
				b := open(t, s, newID, 0, oldID)
				if raw, err := frame.Decode(b, make([]byte, 0, manifest.ChunkSize)); err != nil || !bytes.Equal(raw, text) {
					t.Errorf("%d bytes: %v", len(b), err)
				}
			}
			cancel()
			<-done
		})
	}
}

// leaving is contents whose first reader goes away while it waits.
type leaving struct {
	*contents
	first *atomic.Bool
	began chan struct{} // closed when the first reader waits
}

func (l leaving) ReadChunk(ctx context.Context, id image.ID, i int, buf []byte) ([]byte, error) {
	if l.first.CompareAndSwap(true, false) {
		close(l.began)
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	return l.contents.ReadChunk(ctx, id, i, buf)
}

// A site that goes away while a frame is made for it does no harm to another that waits for the same.
func TestMakerGoesAway(t *testing.T) {
	t.Parallel()
	s, c := start(t, 1<<30)
	const id = image.ID("00000000-0000-4000-8000-000000000005")
	c.data[id] = bytes.Repeat([]byte("all work and no play "), 100_000)
	l := leaving{c, new(atomic.Bool), make(chan struct{})}
	l.first.Store(true)
	s.o.Contents = l
	ctx, leave := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := s.Open(ctx, id, 0, "")
		first <- err
	}()
	<-l.began
	second := make(chan error, 1)
	go func() {
		f, err := s.Open(context.Background(), id, 0, "")
		if f != nil {
			_ = f.Close()
		}
		second <- err
	}()
	leave()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the first: %v", err)
	}
	if err := <-second; err != nil {
		t.Errorf("the second: %v", err)
	}
}
