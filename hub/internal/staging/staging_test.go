package staging

import (
	"context"
	"encoding/binary"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
	"github.com/atoll-dcn/atoll/pkg/retry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a clock that tests turn by hand.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// testArea opens an area in a new directory. Zero options get values that suit tests.
func testArea(t testing.TB, o Options) *Area {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Limit == 0 {
		o.Limit = 64 * frame.MaxSize
	}
	a, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a
}

// testContext ends when the test takes far too long.
func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// short is a chunk length that keeps accounting tests quick: contents of one chunk may have any length.
const short = 1 << 10

// fillChunk makes b unlike any other chunk.
func fillChunk(b []byte, n int) []byte {
	for i := 0; i+8 <= len(b); i += 4096 {
		binary.BigEndian.PutUint64(b[i:], uint64(n)<<32|uint64(i)|1)
	}
	return b
}

func chunk(n int) []byte { return fillChunk(make([]byte, manifest.ChunkSize), n) }

var zeroChunk = make([]byte, manifest.ChunkSize)

// write commits a content of the chunks.
func write(t testing.TB, a *Area, id image.ID, chunks ...[]byte) manifest.Digest {
	t.Helper()
	ctx := testContext(t)
	w, err := a.Create(id)
	if err != nil {
		t.Fatal(err)
	}
	var length int64
	for _, c := range chunks {
		if err := w.Append(ctx, c); err != nil {
			t.Fatal(err)
		}
		length += int64(len(c))
	}
	root, _, err := w.Commit(ctx, length)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// encoded returns the raw frame of a chunk.
func encoded(t interface{ Fatal(...any) }, chunk []byte) []byte {
	b, err := frame.Encode(nil, chunk, frame.Raw)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wantReason(t testing.TB, err error, class fault.Class, reason string) {
	t.Helper()
	if !fault.Is(err, class) || fault.ReasonOf(err) != reason {
		t.Fatalf("error %v (%v, %s), want %v, %s", err, fault.ClassOf(err), fault.ReasonOf(err), class, reason)
	}
}

// info returns what the area says of a content.
func info(t testing.TB, a *Area, id image.ID) Info {
	t.Helper()
	for _, i := range a.Contents() {
		if i.ID == id {
			return i
		}
	}
	t.Fatalf("content %s is missing", id)
	return Info{}
}

// until waits for something that another goroutine is about to do.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for !ok() {
		if retry.Sleep(ctx, time.Millisecond) != nil {
			t.Fatalf("timed out waiting until %s", what)
		}
	}
}

// count returns the value of a counter.
func count(t testing.TB, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}
