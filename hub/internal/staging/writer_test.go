package staging

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

func TestWriteThenRead(t *testing.T) {
	a, ctx, id := testArea(t, Options{}), testContext(t), image.NewID()
	chunks := [][]byte{chunk(1), zeroChunk, zeroChunk, chunk(2), fillChunk(make([]byte, 5000), 3)}
	root := write(t, a, id, chunks...)

	m, got, err := a.Manifest(id)
	if err != nil || got != root || m.Root(frame.Sum) != root {
		t.Fatalf("Manifest: root %v, want %v, error %v", got, root, err)
	}
	if want := int64(4*manifest.ChunkSize + 5000); m.Length != want {
		t.Fatalf("length %d, want %d", m.Length, want)
	}
	buf := make([]byte, manifest.ChunkSize)
	for i, want := range chunks {
		got, err := a.ReadChunk(ctx, id, i, buf)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("chunk %d: %d bytes, error %v", i, len(got), err)
		}
		if m.Chunks[i] != frame.ChunkDigest(want) {
			t.Fatalf("chunk %d has digest %v", i, m.Chunks[i])
		}
	}
	_, err = a.ReadChunk(ctx, id, len(chunks), buf)
	wantReason(t, err, fault.NotFound, ReasonNoChunk)
	if n := info(t, a, id).Frames; n != 3 {
		t.Fatalf("%d frames, want 3: zero chunks have none", n)
	}
}

func TestZeroTailKeepsItsLength(t *testing.T) {
	a, ctx, id := testArea(t, Options{}), testContext(t), image.NewID()
	write(t, a, id, zeroChunk, make([]byte, 77))
	buf := chunk(9)
	got, err := a.ReadChunk(ctx, id, 1, buf)
	if err != nil || !bytes.Equal(got, make([]byte, 77)) {
		t.Fatalf("%d bytes, error %v", len(got), err)
	}
}

func TestReadBehindTheWriter(t *testing.T) {
	a, ctx, id := testArea(t, Options{}), testContext(t), image.NewID()
	w, err := a.Create(id)
	if err != nil {
		t.Fatal(err)
	}
	const n = 5
	turn := make(chan int)
	failed := make(chan error, 1)
	go func() {
		defer close(failed)
		defer close(turn)
		buf := make([]byte, manifest.ChunkSize)
		for i := range n {
			digests, end, err := a.Follow(ctx, id, i)
			if err == nil && (end != nil || len(digests) != 1 || digests[0] != frame.Sum(chunk(i))) {
				err = fault.New(fault.Internal, "TEST", "after chunk %d: %d digests, end %v", i, len(digests), end)
			}
			if err == nil {
				_, err = a.ReadChunk(ctx, id, i, buf)
			}
			if err != nil {
				failed <- err
				return
			}
			turn <- i
		}
	}()
	// The writer goes on only when the reader has each chunk: nothing waits for the commit.
	for i := range n {
		if err := w.Append(ctx, chunk(i)); err != nil {
			t.Fatal(err)
		}
		if _, ok := <-turn; !ok {
			t.Fatal(<-failed)
		}
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	root, data, err := w.Commit(ctx, n*manifest.ChunkSize)
	if err != nil || data != n*manifest.ChunkSize {
		t.Fatalf("Commit: %d bytes, error %v", data, err)
	}
	digests, end, err := a.Follow(ctx, id, n)
	if err != nil || len(digests) != 0 || end == nil || end.Root != root {
		t.Fatalf("Follow at the end: %d digests, %v, error %v", len(digests), end, err)
	}
	_, _, err = a.Follow(ctx, id, n+1)
	wantReason(t, err, fault.Invalid, "INVALID_FIELD")
}

func TestAppendRefusesBadChunks(t *testing.T) {
	for name, tt := range map[string]struct{ before, chunk []byte }{
		"empty":             {nil, nil},
		"too long":          {nil, make([]byte, manifest.ChunkSize+1)},
		"after a short one": {[]byte{1}, []byte{1}},
	} {
		t.Run(name, func(t *testing.T) {
			a, ctx := testArea(t, Options{}), testContext(t)
			w, err := a.Create(image.NewID())
			if err != nil {
				t.Fatal(err)
			}
			defer w.Abort("test")
			if tt.before != nil {
				if err := w.Append(ctx, tt.before); err != nil {
					t.Fatal(err)
				}
			}
			wantReason(t, w.Append(ctx, tt.chunk), fault.Invalid, "BAD_CHUNK")
		})
	}
}

func TestCommitChecksTheLength(t *testing.T) {
	for _, length := range []int64{0, -1, short - 1, short + 1} {
		a, ctx := testArea(t, Options{}), testContext(t)
		w, err := a.Create(image.NewID())
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Append(ctx, fillChunk(make([]byte, short), 1)); err != nil {
			t.Fatal(err)
		}
		_, _, err = w.Commit(ctx, length)
		wantReason(t, err, fault.Invalid, "LENGTH_MISMATCH")
		w.Abort("test")
	}
}

func TestCreateTwice(t *testing.T) {
	a, id := testArea(t, Options{}), image.NewID()
	write(t, a, id, chunk(1))
	_, err := a.Create(id)
	wantReason(t, err, fault.Exists, "CONTENT_EXISTS")
}

func TestAbortTellsReadersAndFreesSpace(t *testing.T) {
	a, ctx, id := testArea(t, Options{}), testContext(t), image.NewID()
	w, err := a.Create(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Append(ctx, chunk(0)); err != nil {
		t.Fatal(err)
	}
	errs := make(chan error, 3)
	buf := make([]byte, manifest.ChunkSize)
	go func() { _, _, err := a.Follow(ctx, id, 1); errs <- err }()
	go func() { _, err := a.ReadChunk(ctx, id, 1, buf); errs <- err }()
	go func() { _, err := a.Demand(ctx, id, 1); errs <- err }()
	w.Abort("the line was cut")
	for range 3 {
		wantReason(t, <-errs, fault.Precondition, manifest.ReasonGone)
	}
	if used, _ := a.Usage(); used != 0 {
		t.Fatalf("%d bytes used after abort", used)
	}
	if _, err := os.Stat(filepath.Join(a.o.Dir, contentsDir, string(id))); !os.IsNotExist(err) {
		t.Fatalf("directory still there: %v", err)
	}
	wantReason(t, w.Append(ctx, chunk(1)), fault.Precondition, manifest.ReasonGone)
	a.Forget(id)
	_, _, err = a.Follow(ctx, id, 0)
	wantReason(t, err, fault.NotFound, ReasonUnknown)
}

func TestForget(t *testing.T) {
	a, ctx, id := testArea(t, Options{}), testContext(t), image.NewID()
	write(t, a, id, chunk(1), chunk(2))
	_, done, err := a.OpenFrame(ctx, id, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	a.Forget(id)
	if used, _ := a.Usage(); used != frame.MaxSize {
		t.Fatalf("%d bytes used, want the one frame that is open", used)
	}
	done(true)
	if used, _ := a.Usage(); used != 0 {
		t.Fatalf("%d bytes used", used)
	}
	_, _, err = a.Manifest(id)
	wantReason(t, err, fault.NotFound, ReasonUnknown)
	if _, err := os.Stat(filepath.Join(a.o.Dir, contentsDir, string(id))); !os.IsNotExist(err) {
		t.Fatalf("directory still there: %v", err)
	}
	a.Forget(id)
}

func TestForgetStopsTheWriter(t *testing.T) {
	a, ctx, id := testArea(t, Options{}), testContext(t), image.NewID()
	w, err := a.Create(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Append(ctx, chunk(0)); err != nil {
		t.Fatal(err)
	}
	a.Forget(id)
	wantReason(t, w.Append(ctx, chunk(1)), fault.Precondition, manifest.ReasonGone)
	_, _, err = w.Commit(ctx, manifest.ChunkSize)
	wantReason(t, err, fault.Precondition, manifest.ReasonGone)
	w.Abort("test")
	if used, _ := a.Usage(); used != 0 {
		t.Fatalf("%d bytes used", used)
	}
	if _, err := os.Stat(filepath.Join(a.o.Dir, contentsDir, string(id))); !os.IsNotExist(err) {
		t.Fatalf("directory still there: %v", err)
	}
}

func TestWaitsEndWithTheContext(t *testing.T) {
	a, id := testArea(t, Options{}), image.NewID()
	w, err := a.Create(id)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort("test")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, _, err = a.Follow(ctx, id, 0)
	if !fault.Is(err, fault.Timeout) {
		t.Fatalf("Follow: %v", err)
	}
	_, _, err = a.OpenFrame(ctx, id, 0, false)
	if !fault.Is(err, fault.Timeout) {
		t.Fatalf("OpenFrame: %v", err)
	}
	if _, _, err := w.Commit(ctx, 1); !fault.Is(err, fault.Timeout) {
		t.Fatalf("Commit: %v", err)
	}
}
