package staging

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// reopen opens the directory of an area again, as a new process would after kill -9: the old area is left as it is, but
// for its lock, which goes with a process.
func reopen(t testing.TB, a *Area) *Area {
	t.Helper()
	if err := a.lock.Close(); err != nil {
		t.Fatal(err)
	}
	o := a.o
	o.Registry = prometheus.NewRegistry()
	return testArea(t, o)
}

func TestRecovery(t *testing.T) {
	a, ctx, id, half := testArea(t, Options{}), testContext(t), image.NewID(), image.NewID()
	chunks := [][]byte{chunk(0), zeroChunk, chunk(2), fillChunk(make([]byte, 999), 3)}
	root := write(t, a, id, chunks...)
	w, err := a.Create(half)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort("test")
	if err := w.Append(ctx, chunk(9)); err != nil {
		t.Fatal(err)
	}
	used := info(t, a, id).Bytes
	// What a crash leaves half written.
	frames := filepath.Join(a.o.Dir, contentsDir, string(id), framesDir)
	for name, size := range map[string]int{"2" + tempSuffix: 100, "7": 0, "nonsense": 50, "-1": 50, "8": frame.MaxSize + 1} {
		if err := os.WriteFile(filepath.Join(frames, name), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(a.o.Dir, contentsDir, "not-a-content"), 0o700); err != nil {
		t.Fatal(err)
	}

	b := reopen(t, a)
	if got, _ := b.Usage(); got != used {
		t.Errorf("%d bytes used, want %d", got, used)
	}
	if got := len(b.Contents()); got != 1 {
		t.Errorf("%d contents, want 1", got)
	}
	_, _, err = b.Follow(ctx, half, 0)
	wantReason(t, err, fault.NotFound, ReasonUnknown)
	if _, err := os.Stat(filepath.Join(b.o.Dir, contentsDir, string(half))); !os.IsNotExist(err) {
		t.Errorf("uncommitted content is still there: %v", err)
	}
	m, got, err := b.Manifest(id)
	if err != nil || got != root || m.Length != 3*manifest.ChunkSize+999 {
		t.Fatalf("manifest: root %v, length %d, error %v", got, m.Length, err)
	}
	if err := readAll(ctx, b, id, chunks, nil); err != nil {
		t.Error(err)
	}
	left, err := os.ReadDir(frames)
	if err != nil || len(left) != 3 {
		t.Errorf("%d files among the frames, error %v", len(left), err)
	}
}

func TestNothingGoesBeforeTheFirstListAfterARestart(t *testing.T) {
	a, id := testArea(t, Options{}), image.NewID()
	write(t, a, id, chunk(0))
	a.SetNeeds(map[image.ID]Need{id: {PinFrom: Unpinned}})
	b := reopen(t, a)
	b.collect()
	if n := info(t, b, id).Frames; n != 1 {
		t.Fatalf("%d frames", n)
	}
	b.SetNeeds(nil)
	b.collect()
	if n := info(t, b, id).Frames; n != 0 {
		t.Fatalf("%d frames after a list that does not name the content", n)
	}
}

func TestEvictedContentKeepsItsManifest(t *testing.T) {
	a, ctx, id := testArea(t, Options{}), testContext(t), image.NewID()
	c := chunk(0)
	evicted(t, a, id, c)
	b := reopen(t, a)
	m, _, err := b.Manifest(id)
	if err != nil || len(m.Chunks) != 1 {
		t.Fatalf("manifest: error %v", err)
	}
	if err := b.PutFrame(ctx, id, 0, encoded(t, c)); err != nil {
		t.Fatal(err)
	}
	if err := readAll(ctx, b, id, [][]byte{c}, nil); err != nil {
		t.Fatal(err)
	}
}

func TestUnusedManifestLeavesMemory(t *testing.T) {
	clk := newClock()
	a, id := testArea(t, Options{Now: clk.now}), image.NewID()
	root := write(t, a, id, chunk(0))
	clk.advance(manifestStays)
	a.collect()
	if n := info(t, a, id).Chunks; n != 0 {
		t.Fatalf("%d chunks in memory", n)
	}
	if _, got, err := a.Manifest(id); err != nil || got != root {
		t.Fatalf("root %v, error %v", got, err)
	}
}

func TestDamagedManifest(t *testing.T) {
	a, ctx, id := testArea(t, Options{}), testContext(t), image.NewID()
	write(t, a, id, chunk(0), chunk(1))
	path := filepath.Join(a.o.Dir, contentsDir, string(id), manifestFile)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[20] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err = reopen(t, a).Follow(ctx, id, 0)
	wantReason(t, err, fault.Corrupt, "BAD_MANIFEST")
}

// damage changes a stored frame behind the area's back.
func damage(t testing.TB, a *Area, id image.ID, index int, change func([]byte) []byte) {
	t.Helper()
	a.mu.Lock()
	path := a.contents[id].framePath(index)
	a.mu.Unlock()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b = change(b); b == nil {
		err = os.Remove(path)
	} else {
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestDamagedFrameIsFetchedAgain(t *testing.T) {
	for name, tt := range map[string]struct {
		change func([]byte) []byte
		verify bool
	}{
		"cut":          {func(b []byte) []byte { return b[:len(b)-1] }, false},
		"emptied":      {func([]byte) []byte { return []byte{} }, false},
		"lost":         {func([]byte) []byte { return nil }, false},
		"bad header":   {func(b []byte) []byte { b[0] ^= 1; return b }, false},
		"flipped bits": {func(b []byte) []byte { b[5000] ^= 1; return b }, true},
	} {
		t.Run(name, func(t *testing.T) {
			a, ctx, id := testArea(t, Options{}), testContext(t), image.NewID()
			c := chunk(0)
			write(t, a, id, c)
			a.SetNeeds(map[image.ID]Need{id: {Fills: 1, PinFrom: Unpinned, HasSource: true}})
			damage(t, a, id, 0, tt.change)
			opened := make(chan error, 1)
			go func() {
				f, done, err := a.OpenFrame(ctx, id, 0, tt.verify)
				if err == nil {
					b := make([]byte, frame.MaxSize)
					if _, err = f.ReadAt(b, 0); err == nil && !bytes.Equal(b, encoded(t, c)) {
						err = fault.New(fault.Corrupt, "TEST", "wrong bytes")
					}
					done(true)
				}
				opened <- err
			}()
			indexes, err := a.Demand(ctx, id, 1)
			if err != nil || len(indexes) != 1 || indexes[0] != 0 {
				t.Fatalf("Demand: %v, error %v", indexes, err)
			}
			if err := a.PutFrame(ctx, id, 0, encoded(t, c)); err != nil {
				t.Fatal(err)
			}
			if err := <-opened; err != nil {
				t.Fatal(err)
			}
			if got := count(t, a.m.damaged); got != 1 {
				t.Errorf("%v damaged frames counted", got)
			}
			if used, _ := a.Usage(); used != frame.MaxSize {
				t.Errorf("%d bytes used", used)
			}
		})
	}
}

func TestDamagedOnlyCopy(t *testing.T) {
	a, ctx, id := testArea(t, Options{}), testContext(t), image.NewID()
	write(t, a, id, chunk(0))
	damage(t, a, id, 0, func(b []byte) []byte { b[5000] ^= 1; return b })
	_, _, err := a.OpenFrame(ctx, id, 0, true)
	wantReason(t, err, fault.Corrupt, ReasonDamaged)
	_, err = a.ReadChunk(ctx, id, 0, make([]byte, manifest.ChunkSize))
	wantReason(t, err, fault.Corrupt, ReasonDamaged)
	if n := info(t, a, id).Frames; n != 1 {
		t.Fatal("the only copy was removed")
	}
}

func TestOpenRefusals(t *testing.T) {
	a := testArea(t, Options{})
	for name, tt := range map[string]struct {
		o      Options
		class  fault.Class
		reason string
	}{
		"limit too small":    {Options{Dir: t.TempDir(), Limit: MinLimit - 1}, fault.Invalid, "INVALID_FIELD"},
		"negative retention": {Options{Dir: t.TempDir(), Limit: MinLimit, Retention: -1}, fault.Invalid, "INVALID_FIELD"},
		"in use":             {Options{Dir: a.o.Dir, Limit: MinLimit}, fault.Precondition, "STAGING_IN_USE"},
		"not a directory":    {Options{Dir: "/dev/null", Limit: MinLimit}, fault.Unavailable, ReasonDisk},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(tt.o)
			wantReason(t, err, tt.class, tt.reason)
		})
	}
}
