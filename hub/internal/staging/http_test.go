package staging

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// follow reads a manifest stream to its end and hands each record to each.
func follow(ctx context.Context, c *frame.Client, id image.ID, from int, each func(manifest.Record) error) (*manifest.End, error) {
	dec, closer, err := c.Manifest(ctx, id, from)
	if err != nil {
		return nil, err
	}
	defer func() { _ = closer.Close() }()
	for {
		rec, err := dec.Next()
		if err != nil || rec.End != nil {
			return rec.End, err
		}
		if err := each(rec); err != nil {
			return nil, err
		}
	}
}

// fill does what an agent does: it follows the manifest and fetches every chunk that is not zero, several at a time.
func fill(ctx context.Context, c *frame.Client, id image.ID) (map[int][]byte, *manifest.End, error) {
	type job struct {
		index  int
		digest manifest.Digest
	}
	jobs := make(chan job)
	var (
		mu     sync.Mutex
		wg     sync.WaitGroup
		failed error
	)
	chunks := map[int][]byte{}
	for range 3 {
		wg.Go(func() {
			for j := range jobs {
				raw, wire, err := c.Get(ctx, id, j.index, j.digest, make([]byte, manifest.ChunkSize))
				if err == nil && wire > int64(frame.HeaderSize+len(raw)) {
					err = fault.New(fault.Internal, "TEST", "%d bytes on the wire for %d", wire, len(raw))
				}
				mu.Lock()
				if chunks[j.index] = raw; err != nil {
					failed = err
				}
				mu.Unlock()
			}
		})
	}
	end, err := follow(ctx, c, id, 0, func(rec manifest.Record) error {
		if !rec.Digest.IsZero() {
			jobs <- job{rec.Index, rec.Digest}
		}
		return nil
	})
	close(jobs)
	wg.Wait()
	if err == nil {
		err = failed
	}
	return chunks, end, err
}

// An import fills two sites while it arrives, one over TLS and one over the socket; then the hub dies, starts again with
// nothing lost, evicts all frames, and a third site is filled from what the first one offers.
func TestSitesFillThroughTheHub(t *testing.T) {
	ctx := testContext(t)
	a := testArea(t, Options{Registry: prometheus.NewRegistry()})
	handler := func(a *Area) http.Handler {
		return frame.NewHandler(a, frame.HandlerOptions{KeepAlive: 5 * time.Millisecond})
	}
	overTLS, overSocket := serveTLS(t, handler(a)), serveUnix(t, handler(a))
	chunks, id := chunksWithHoles(12), image.NewID()
	chunks = append(chunks, fillChunk(make([]byte, 12345), 12))

	w, err := a.Create(id)
	if err != nil {
		t.Fatal(err)
	}
	type result struct {
		chunks map[int][]byte
		end    *manifest.End
		err    error
	}
	results := make(chan result, 2)
	for _, c := range []*frame.Client{overTLS, overSocket} {
		go func() {
			got, end, err := fill(ctx, c, id)
			results <- result{got, end, err}
		}()
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
	check := func(r result, site string) {
		t.Helper()
		if r.err != nil || r.end == nil || r.end.Root != root || r.end.Length != length {
			t.Fatalf("%s: end %v, error %v", site, r.end, r.err)
		}
		for i, want := range chunks {
			if got := r.chunks[i]; !bytes.Equal(got, want) && !frame.IsZero(want) {
				t.Errorf("%s: chunk %d has %d bytes that are not those of the source", site, i, len(got))
			}
		}
	}
	check(<-results, "first site")
	check(<-results, "second site")

	b := reopen(t, a)
	b.SetNeeds(map[image.ID]Need{id: {PinFrom: Unpinned}})
	b.collect()
	if n := info(t, b, id).Frames; n != 0 {
		t.Fatalf("%d frames left", n)
	}
	offering, filling := serveTLS(t, handler(b)), serveUnix(t, handler(b))
	serving, stop := context.WithCancel(ctx)
	defer stop()
	offered := make(chan error, 1)
	go func() { offered <- offer(serving, offering, id, chunks) }()
	got, end, err := fill(ctx, filling, id)
	check(result{got, end, err}, "third site")
	stop()
	if err := <-offered; err != nil {
		t.Fatal(err)
	}
	if got, want := info(t, b, id).Offered, info(t, b, id).Bytes; got != want {
		t.Errorf("%d bytes came from the offer, the image has %d", got, want)
	}
}

// offer does what an agent does that holds a copy, until ctx ends.
func offer(ctx context.Context, c *frame.Client, id image.ID, chunks [][]byte) error {
	for {
		indexes, err := c.Demand(ctx, id, 4)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		for _, i := range indexes {
			codec := frame.Raw
			if i%2 == 1 {
				codec = frame.Zstd
			}
			if err := c.Put(ctx, id, i, chunks[i], codec); ctx.Err() != nil {
				return nil // who waited for it may be faster than the answer
			} else if err != nil {
				return err
			}
		}
	}
}

func TestAbortReachesTheAgents(t *testing.T) {
	ctx, a, id := testContext(t), testArea(t, Options{}), image.NewID()
	c := serveUnix(t, frame.NewHandler(a, frame.HandlerOptions{}))
	w, err := a.Create(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Append(ctx, chunk(0)); err != nil {
		t.Fatal(err)
	}
	seen, ended := make(chan struct{}), make(chan error, 2)
	go func() {
		_, err := follow(ctx, c, id, 0, func(manifest.Record) error { close(seen); return nil })
		ended <- err
	}()
	go func() {
		_, _, err := c.Get(ctx, id, 1, manifest.Digest{1}, make([]byte, manifest.ChunkSize))
		ended <- err
	}()
	<-seen
	w.Abort("test")
	for range 2 {
		wantReason(t, <-ended, fault.Precondition, manifest.ReasonGone)
	}
	_, _, err = c.Manifest(ctx, id, 0)
	wantReason(t, err, fault.Precondition, manifest.ReasonGone)
}

func TestRefusalsOverHTTP(t *testing.T) {
	ctx, a, id := testContext(t), testArea(t, Options{Limit: MinLimit}), image.NewID()
	c := serveTLS(t, frame.NewHandler(a, frame.HandlerOptions{
		FrameWait: 10 * time.Millisecond, PollWait: 10 * time.Millisecond, SpaceWait: 10 * time.Millisecond,
	}))
	chunks := [][]byte{chunk(0), zeroChunk}
	evicted(t, a, id, chunks...)
	buf := make([]byte, manifest.ChunkSize)
	get := func(id image.ID, index int) error {
		_, _, err := c.Get(ctx, id, index, frame.Sum(chunks[0]), buf)
		return err
	}
	wantReason(t, get(image.NewID(), 0), fault.NotFound, ReasonUnknown)
	wantReason(t, get(id, 2), fault.NotFound, ReasonNoChunk)
	wantReason(t, get(id, 1), fault.NotFound, ReasonNoChunk)
	wantReason(t, get(id, 0), fault.Unavailable, frame.ReasonPending)
	wantReason(t, c.Put(ctx, id, 0, chunk(1), frame.Raw), fault.Corrupt, frame.ReasonCorrupt)
	wantReason(t, c.Put(ctx, id, 1, zeroChunk, frame.Zstd), fault.NotFound, ReasonNoChunk)
	if indexes, err := c.Demand(ctx, image.NewID(), 1); !fault.Is(err, fault.NotFound) {
		t.Errorf("Demand: %v, error %v", indexes, err)
	}
	_, _, err := c.Manifest(ctx, id, 3)
	wantReason(t, err, fault.Invalid, "INVALID_FIELD")

	var pinned [][]byte
	for i := range MinLimit / frame.MaxSize {
		pinned = append(pinned, chunk(10+i))
	}
	full := image.NewID()
	write(t, a, full, pinned...)
	wantReason(t, c.Put(ctx, id, 0, chunks[0], frame.Raw), fault.Unavailable, ReasonFull)
	a.Forget(full)
	if err := c.Put(ctx, id, 0, chunks[0], frame.Raw); err != nil {
		t.Fatal(err)
	}
	if err := get(id, 0); err != nil {
		t.Fatal(err)
	}
	if indexes, err := c.Demand(ctx, id, 1); err != nil || len(indexes) != 0 {
		t.Errorf("Demand: %v, error %v", indexes, err)
	}
}

// A frame that rots on the hub's disk is noticed by the agent, and replaced when the agent asks again.
func TestRefetchReplacesADamagedFrame(t *testing.T) {
	ctx, a, id := testContext(t), testArea(t, Options{}), image.NewID()
	c := serveUnix(t, frame.NewHandler(a, frame.HandlerOptions{}))
	good := chunk(0)
	write(t, a, id, good)
	a.SetNeeds(map[image.ID]Need{id: {Fills: 1, PinFrom: Unpinned, HasSource: true}})
	damage(t, a, id, 0, func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
	buf := make([]byte, manifest.ChunkSize)
	_, _, err := c.Get(ctx, id, 0, frame.Sum(good), buf)
	wantReason(t, err, fault.Corrupt, frame.ReasonCorrupt)
	serving, stop := context.WithCancel(ctx)
	defer stop()
	offered := make(chan error, 1)
	go func() { offered <- offer(serving, c, id, [][]byte{good}) }()
	raw, _, err := c.Refetch(ctx, id, 0, frame.Sum(good), buf)
	if err != nil || !bytes.Equal(raw, good) {
		t.Fatalf("Refetch: %d bytes, error %v", len(raw), err)
	}
	stop()
	if err := <-offered; err != nil {
		t.Fatal(err)
	}
	if got := count(t, a.m.damaged); got != 1 {
		t.Errorf("%v damaged frames counted", got)
	}
}

// The frame of a chunk leaves by sendfile on a plain connection, whole and unchanged.
func TestFrameOnTheWire(t *testing.T) {
	a, id := testArea(t, Options{}), image.NewID()
	c := chunk(0)
	write(t, a, id, c)
	l := listen(t)
	s := &http.Server{Handler: frame.NewHandler(a, frame.HandlerOptions{})}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	resp, err := http.Get("http://" + l.Addr().String() + "/v1/contents/" + string(id) + "/frames/0")
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if err != nil || !bytes.Equal(b, encoded(t, c)) || resp.ContentLength != frame.MaxSize {
		t.Errorf("%d bytes, length %d, error %v", len(b), resp.ContentLength, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	<-served
	until(t, "the frame is counted", func() bool { return count(t, a.m.served) == frame.MaxSize })
}
