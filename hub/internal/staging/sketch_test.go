package staging

import (
	"encoding/binary"
	"os"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/hub/internal/sketch"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// blocks returns a chunk all of whose blocks differ, from each other and from those of other numbers.
func blocks(n int) []byte {
	b := make([]byte, manifest.ChunkSize)
	for off := 0; off < len(b); off += sketch.BlockSize {
		binary.BigEndian.PutUint64(b[off:], uint64(n*manifest.ChunkSize+off+1))
	}
	return b
}

// isLike fails unless the area says that so much of a content is in another one.
func isLike(t *testing.T, a *Area, id, other image.ID, want, within int) {
	t.Helper()
	s, o := a.Sketch(id), a.Sketch(other)
	if s == nil || o == nil {
		t.Fatalf("no sketch: %v, %v", s != nil, o != nil)
	}
	if got, known := s.In(o); !known || got < want-within || got > want+within {
		t.Errorf("%d%% (%v), want %d%%", got, known, want)
	}
}

// An import leaves a sketch, which is there after a restart. It may be lost or damaged without harm, and is made again from what
// passes.
func TestSketchOfImport(t *testing.T) {
	clock := newClock()
	a, ctx := testArea(t, Options{Now: clock.now, Retention: time.Hour}), testContext(t)
	one, two := image.NewID(), image.NewID()
	write(t, a, one, blocks(0), zeroChunk, blocks(1), blocks(2), blocks(3))
	write(t, a, two, blocks(2), blocks(5), blocks(3), blocks(4))
	isLike(t, a, one, two, 50, 8)
	a = reopen(t, a)
	isLike(t, a, one, two, 50, 8)
	clock.advance(manifestStays)
	a.collect()
	if a.contents[one].like.sketch != nil {
		t.Error("the sketch of an unused content stays in memory")
	}
	isLike(t, a, one, two, 50, 8)

	a = reopen(t, a)
	if err := os.Truncate(a.contents[one].sketchPath(), 100); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(a.contents[two].sketchPath()); err != nil {
		t.Fatal(err)
	}
	if a.Sketch(one) != nil || a.Sketch(two) != nil {
		t.Fatal("a damaged sketch is used")
	}
	buf := make([]byte, manifest.ChunkSize)
	for _, id := range []image.ID{one, two} {
		for index := range 5 {
			if id == two && index == 4 {
				continue
			}
			for range 2 {
				if _, err := a.ReadChunk(ctx, id, index, buf); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	isLike(t, a, one, two, 50, 8)
	a = reopen(t, a)
	isLike(t, a, one, two, 50, 8)
}

// A copy that was adopted gets its sketch when all its data has passed, in whatever order.
func TestSketchOfAdoptedCopy(t *testing.T) {
	a, ctx, id, whole := testArea(t, Options{}), testContext(t), image.NewID(), image.NewID()
	chunks := [][]byte{blocks(0), zeroChunk, blocks(1), blocks(2)}
	write(t, a, whole, chunks...)
	if err := a.Adopt(ctx, id, describe(chunks...)); err != nil {
		t.Fatal(err)
	}
	for _, index := range []int{3, 0, 2} {
		if a.Sketch(id) != nil {
			t.Fatal("a sketch of a part")
		}
		if err := a.PutFrame(ctx, id, index, encoded(t, chunks[index])); err != nil {
			t.Fatal(err)
		}
	}
	isLike(t, a, id, whole, 100, 0)
	isLike(t, a, whole, id, 100, 0)
	a = reopen(t, a)
	isLike(t, a, id, whole, 100, 0)
	a.Forget(id)
	if a.Sketch(id) != nil {
		t.Error("a sketch of a content that was forgotten")
	}
}

// A content that grows has no sketch, and one that is never stored has one in memory only.
func TestSketchOfGrowingContent(t *testing.T) {
	a, ctx, id := testArea(t, Options{}), testContext(t), image.NewID()
	w, err := a.CreateTransient(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Append(ctx, blocks(0)); err != nil {
		t.Fatal(err)
	}
	if a.Sketch(id) != nil || a.Sketch(image.NewID()) != nil {
		t.Error("a sketch of what is not complete")
	}
	if _, _, err := w.Commit(ctx, manifest.ChunkSize); err != nil {
		t.Fatal(err)
	}
	isLike(t, a, id, id, 100, 0)
	if _, err := os.Stat(a.contents[id].sketchPath()); !os.IsNotExist(err) {
		t.Errorf("stored: %v", err)
	}
}
