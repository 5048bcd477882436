package staging

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// sample returns chunks of which every fifth holds zeroes, the last one being short, and all their bytes.
func sample(n int) (chunks [][]byte, all []byte) {
	for i := range n {
		c := chunk(i)
		if i%5 == 3 {
			c = zeroChunk
		}
		if i == n-1 {
			c = c[:12345]
		}
		chunks = append(chunks, c)
		all = append(all, c...)
	}
	return chunks, all
}

// Many read a content at random places while it grows; each gets the bytes that will be there.
func TestReaderOfGrowingContent(t *testing.T) {
	const readers, reads = 12, 10
	a, ctx, id := testArea(t, Options{}), testContext(t), image.NewID()
	w, err := a.CreateTransient(id)
	if err != nil {
		t.Fatal(err)
	}
	chunks, all := sample(23)
	r := a.Reader(ctx, id)
	var wg sync.WaitGroup
	for n := range readers {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(n)))
			for range reads {
				from := random.Int64N(int64(len(all)))
				p := make([]byte, 1+random.Int64N([]int64{600, 5 << 20}[n%2]))
				got, err := r.ReadAt(p, from)
				want := all[from:min(int64(len(all)), from+int64(len(p)))]
				if !bytes.Equal(p[:got], want) || err != nil && (!errors.Is(err, io.EOF) || got == len(p)) || err == nil && got < len(p) {
					t.Errorf("%d bytes at %d: got %d, %v", len(p), from, got, err)
				}
			}
		})
	}
	for _, c := range chunks {
		if err := w.Append(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := w.Commit(ctx, int64(len(all))); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if n, err := r.ReadAt(make([]byte, 1), int64(len(all))); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("behind the end: %d, %v", n, err)
	}
	if len(r.order) > readerChunks {
		t.Errorf("%d chunks are kept", len(r.order))
	}
	_ = r.Close()
	if len(r.order) != 0 || len(r.slots) != 0 {
		t.Error("chunks are kept after Close")
	}
	if _, err := r.ReadAt(make([]byte, 1), 0); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	wantUsage(t, a)
}

// wantUsage checks that the area counts what its frames take.
func wantUsage(t *testing.T, a *Area) {
	t.Helper()
	var sum int64
	for _, c := range a.Contents() {
		sum += c.Bytes
	}
	if used, _ := a.Usage(); used != sum {
		t.Errorf("%d bytes are counted, %d are there", used, sum)
	}
}

// A wait ends with the context, with the reader and with the content, and says why.
func TestReaderWaits(t *testing.T) {
	cause := fault.New(fault.Cancelled, "IMPORT_CANCELLED", "enough")
	for name, c := range map[string]struct {
		end    func(cancel context.CancelCauseFunc, w *Writer, r *Reader)
		reason string
	}{
		"cancelled": {func(cancel context.CancelCauseFunc, _ *Writer, _ *Reader) { cancel(cause) }, "IMPORT_CANCELLED"},
		"aborted":   {func(_ context.CancelCauseFunc, w *Writer, _ *Reader) { w.Abort("gone") }, manifest.ReasonGone},
	} {
		t.Run(name, func(t *testing.T) {
			a, id := testArea(t, Options{}), image.NewID()
			ctx, cancel := context.WithCancelCause(testContext(t))
			defer cancel(nil)
			w, err := a.CreateTransient(id)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Abort("end of test")
			r := a.Reader(ctx, id)
			defer func() { _ = r.Close() }()
			ended := make(chan error)
			go func() {
				_, err := r.ReadAt(make([]byte, 1), 0)
				ended <- err
			}()
			c.end(cancel, w, r)
			if err := <-ended; fault.ReasonOf(err) != c.reason {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A local reader asks no site.
func TestLocalReader(t *testing.T) {
	a, ctx, id := testArea(t, Options{Retention: 0}), testContext(t), image.NewID()
	write(t, a, id, chunk(0), chunk(1))
	r := a.LocalReader(ctx, id)
	defer func() { _ = r.Close() }()
	if _, err := r.ReadAt(make([]byte, 10), 5); err != nil {
		t.Fatal(err)
	}
	a.SetNeeds(map[image.ID]Need{id: {PinFrom: Unpinned}})
	a.collect()
	_, err := r.ReadAt(make([]byte, 10), manifest.ChunkSize)
	wantReason(t, err, fault.NotFound, ReasonNoChunk)
	if ids := a.Wants(); len(ids) != 0 {
		t.Errorf("sites are asked for %v", ids)
	}
}

// A damaged frame is not believed.
func TestReaderFindsDamage(t *testing.T) {
	a, ctx, id := testArea(t, Options{}), testContext(t), image.NewID()
	write(t, a, id, chunk(0))
	a.mu.Lock()
	path := a.contents[id].framePath(0)
	a.mu.Unlock()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	r := a.Reader(ctx, id)
	defer func() { _ = r.Close() }()
	_, err = r.ReadAt(make([]byte, 10), 0)
	wantReason(t, err, fault.Corrupt, ReasonDamaged)
}

// A terabyte of zeroes costs next to nothing.
func TestAppendZeroes(t *testing.T) {
	a, ctx, id := testArea(t, Options{}), testContext(t), image.NewID()
	w, err := a.Create(id)
	if err != nil {
		t.Fatal(err)
	}
	const n = 1 << 18
	if err := w.Append(ctx, chunk(0)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.AppendZeroes(n); err != nil {
			t.Fatal(err)
		}
	}
	wantReason(t, w.AppendZeroes(manifest.MaxChunks), fault.Invalid, "CONTENT_TOO_LONG")
	wantReason(t, w.AppendZeroes(0), fault.Invalid, "BAD_CHUNK")
	if err := w.Append(ctx, []byte{1}); err != nil {
		t.Fatal(err)
	}
	wantReason(t, w.AppendZeroes(1), fault.Invalid, "BAD_CHUNK")
	_, data, err := w.Commit(ctx, (2*n+1)*manifest.ChunkSize+1)
	if err != nil || data != manifest.ChunkSize+1 {
		t.Fatalf("%d bytes of data, %v", data, err)
	}
	r := a.Reader(ctx, id)
	defer func() { _ = r.Close() }()
	p := []byte{9, 9, 9}
	if n, err := r.ReadAt(p, (2*n+1)*manifest.ChunkSize-1); n != 2 || !errors.Is(err, io.EOF) || p[0] != 0 || p[1] != 1 {
		t.Fatalf("got %d, %v, %v", n, p, err)
	}
}

// Two contents that wait for each other's space do not wait for ever: one gives up, the other goes on. In the bubble no time
// passes while the one that gives up is removed, however slow the disk is.
func TestTransientContentsGiveUpOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, ctx := testArea(t, Options{Limit: MinLimit, Patience: 2 * time.Second}), testContext(t)
		wantReason(t, a.CheckTransient(MinLimit), fault.Exhausted, ReasonFull)
		if err := a.CheckTransient(MinLimit - spared); err != nil {
			t.Fatal(err)
		}
		results := make(chan error, 2)
		var full sync.WaitGroup // both have two of the four chunks that there is room for
		full.Add(2)
		for n := range 2 {
			id := image.NewID()
			w, err := a.CreateTransient(id)
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				var err error
				for i := 0; i < 3 && err == nil; i++ {
					if i == 2 {
						full.Done()
						full.Wait()
					}
					err = w.Append(ctx, chunk(10*n+i))
				}
				w.Abort("done")
				a.Forget(id)
				results <- err
			}()
		}
		first, second := <-results, <-results
		if (first == nil) == (second == nil) {
			t.Fatalf("got %v and %v", first, second)
		}
		wantReason(t, errors.Join(first, second), fault.Exhausted, ReasonFull)
		if n := len(a.Contents()); n != 0 {
			t.Errorf("%d contents are left", n)
		}
	})
}

// What waits for an import leaves room for what is made of it.
func TestWaitingContentLeavesRoom(t *testing.T) {
	a, ctx := testArea(t, Options{Limit: MinLimit}), testContext(t)
	w, err := a.CreateWaiting(image.NewID())
	if err != nil {
		t.Fatal(err)
	}
	full := (MinLimit - spared) / frame.MaxSize
	for i := range full {
		if err := w.Append(ctx, chunk(i)); err != nil {
			t.Fatal(err)
		}
	}
	ended, end := context.WithCancel(ctx)
	end()
	wantReason(t, w.Append(ended, chunk(0)), fault.Exhausted, ReasonFull)
	other, err := a.Create(image.NewID())
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Append(ctx, chunk(1)); err != nil {
		t.Error(err)
	}
	w.Abort("the test has ended")
	other.Abort("the test has ended")
}

// A transient content is not there any more after a restart, and not taken for a stray one before.
func TestTransientContentGoesWithTheProcess(t *testing.T) {
	a, id := testArea(t, Options{}), image.NewID()
	w, err := a.CreateTransient(id)
	if err != nil {
		t.Fatal(err)
	}
	ctx := testContext(t)
	if err := w.Append(ctx, chunk(0)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.Commit(ctx, manifest.ChunkSize); err != nil {
		t.Fatal(err)
	}
	a.SetNeeds(nil)
	a.SetNeeds(map[image.ID]Need{id: {}})
	a.SetNeeds(nil)
	a.collect()
	if i := info(t, a, id); i.Complete || i.Frames != 1 {
		t.Errorf("got %+v", i)
	}
	dir := a.o.Dir
	_ = a.Close()
	if b := testArea(t, Options{Dir: dir}); len(b.Contents()) != 0 {
		t.Error("it is there after a restart")
	}
}
