package frame_test

import (
	"bytes"
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// pacer gives each frame a turn of pieces. refuse is the error of the next turn, cut that of a turn after some pieces.
type pacer struct {
	piece  int64
	wait   time.Duration // before each piece
	refuse error
	cut    error

	mu            sync.Mutex
	taken         int64
	pieces, begun int
	ended         int
}

func (p *pacer) Begin(context.Context, image.ID) (frame.Turn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuse != nil {
		return nil, p.refuse
	}
	p.begun++
	return p, nil
}

func (p *pacer) Take(ctx context.Context, left int64) (int64, error) {
	if p.wait > 0 {
		select {
		case <-time.After(p.wait):
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut != nil && p.pieces == 3 {
		return 0, p.cut
	}
	n := min(left, p.piece)
	p.taken += n
	p.pieces++
	return n, nil
}

func (p *pacer) End() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended++
}

// check compares what has been taken with frames of one whole chunk each; all turns have been ended.
func (p *pacer) check(t *testing.T, frames int) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if want := int64(frames * frame.MaxSize); p.taken != want || p.begun != frames {
		t.Errorf("%d bytes in %d turns, want %d in %d", p.taken, p.begun, want, frames)
	}
	if p.ended != p.begun {
		t.Errorf("%d of %d turns have ended", p.ended, p.begun)
	}
}

// paced serves a store through a handler with a pacer. drain waits until all requests have been handled.
func paced(t *testing.T, s *store, p *pacer) (c *frame.Client, drain func()) {
	t.Helper()
	h, drain := pacedHandler(s, p, time.Minute)
	c, _ = serve(t, h)
	return c, drain
}

func pacedHandler(s *store, p *pacer, stall time.Duration) (h http.Handler, drain func()) {
	o := quick
	o.Pacer, o.Stall = p, stall
	inner := frame.NewHandler(s, o)
	var wg sync.WaitGroup
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wg.Add(1)
		defer wg.Done()
		inner.ServeHTTP(w, r)
	}), wg.Wait
}

// Every byte of a frame is taken before it moves, in both directions, and the frame is what it was.
func TestPacedFrames(t *testing.T) {
	s, ctx, p := newStore(t), testContext(t), &pacer{piece: 100_000}
	c, drain := paced(t, s, p)
	raw, _, err := c.Get(ctx, content, 0, frame.Sum(s.chunks[0]), make([]byte, manifest.ChunkSize))
	if err != nil || !bytes.Equal(raw, s.chunks[0]) {
		t.Fatalf("%d bytes, %v", len(raw), err)
	}
	drain()
	p.check(t, 1)
	if err := c.Put(ctx, content, 5, s.chunks[0], frame.Raw); err != nil || !bytes.Equal(s.put[5], s.chunks[0]) {
		t.Fatalf("%d bytes, %v", len(s.put[5]), err)
	}
	drain()
	p.check(t, 2)
	if want := 2 * ((frame.MaxSize + 99_999) / 100_000); p.pieces < want {
		t.Errorf("%d pieces, want %d at least", p.pieces, want)
	}
}

// A frame may take much longer than a peer may be silent, as long as its pieces flow.
func TestSlowFramesAreNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, ctx, p := newStore(t), testContext(t), &pacer{piece: 256 << 10, wait: 200 * time.Millisecond}
		h, drain := pacedHandler(s, p, 2500*time.Millisecond) // 17 pieces take 3.4 s
		c := frame.Piped(t, h)
		if raw, _, err := c.Get(ctx, content, 0, frame.Sum(s.chunks[0]), make([]byte, manifest.ChunkSize)); err != nil || !bytes.Equal(raw, s.chunks[0]) {
			t.Fatalf("%d bytes, %v", len(raw), err)
		}
		if err := c.Put(ctx, content, 5, s.chunks[0], frame.Raw); err != nil {
			t.Fatal(err)
		}
		drain()
		p.check(t, 2)
	})
}

// Who gets no turn learns why; a frame that must be given up is cut, and not taken for one that was served.
func TestNoTurn(t *testing.T) {
	s, ctx := newStore(t), testContext(t)
	paused := fault.New(fault.Unavailable, "SITE_PAUSED", "site dcn0 is paused")
	p := &pacer{piece: 64 << 10, refuse: paused}
	c, drain := paced(t, s, p)
	buf := make([]byte, manifest.ChunkSize)
	_, wire, err := c.Get(ctx, content, 0, frame.Sum(s.chunks[0]), buf)
	if !fault.Is(err, fault.Unavailable) || fault.ReasonOf(err) != "SITE_PAUSED" || wire != 0 {
		t.Fatalf("get: %v after %d bytes", err, wire)
	}
	if err := c.Put(ctx, content, 5, s.chunks[2], frame.Raw); !fault.Is(err, fault.Unavailable) || len(s.put) != 0 {
		t.Fatalf("put: %v", err)
	}
	drain()
	p.check(t, 0)

	p = &pacer{piece: 64 << 10, cut: paused}
	c, drain = paced(t, s, p)
	if _, wire, err = c.Get(ctx, content, 0, frame.Sum(s.chunks[0]), buf); !fault.Is(err, fault.Unavailable) || wire > 3*64<<10 {
		t.Fatalf("cut get: %v after %d bytes", err, wire)
	}
	drain()
	if p.begun != 1 || p.ended != 1 || s.served[len(s.served)-1] {
		t.Errorf("%d turns begun, %d ended, served %v", p.begun, p.ended, s.served)
	}
}
