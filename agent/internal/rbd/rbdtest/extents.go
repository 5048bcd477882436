package rbdtest

import (
	"errors"
	"slices"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
)

type extent struct{ off, length int64 }

// extents returns what Extents reports, merged, after checking its form.
func (e *env) extents(r rbd.Reader) []extent {
	e.Helper()
	var got []extent
	end := int64(0)
	e.ok("extents", r.Extents(e.ctx, func(off, length int64) error {
		if off%chunk != 0 || length <= 0 || off+length > r.Size() || length%chunk != 0 && off+length != r.Size() {
			e.Errorf("extent %d+%d is not made of whole chunks of an image of %d bytes", off, length, r.Size())
		}
		if off < end {
			e.Errorf("extent %d+%d comes after one that ends at %d", off, length, end)
		}
		if n := len(got); n > 0 && off == end {
			got[n-1].length += length
		} else {
			got = append(got, extent{off, length})
		}
		end = off + length
		return nil
	}))
	return got
}

func (e *env) wantExtents(r rbd.Reader, want ...extent) {
	e.Helper()
	if got := e.extents(r); !slices.Equal(got, want) {
		e.Fatalf("extents are %v, want %v", got, want)
	}
}

func testExtents(e *env) {
	size := int64(1000*chunk + 12345)
	img := e.create("image", size)
	e.wantExtents(img)
	e.write(img, pattern(1, 10), 5*chunk+100)
	e.wantExtents(img, extent{5 * chunk, chunk})
	e.write(img, pattern(2, 2*chunk), 7*chunk-1) // touches three chunks
	e.write(img, pattern(3, 1), size-1)
	e.write(img, pattern(4, 1), 0)
	e.write(img, pattern(5, chunk), 300*chunk)
	want := []extent{{0, chunk}, {5 * chunk, 4 * chunk}, {300 * chunk, chunk}, {1000 * chunk, 12345}}
	e.wantExtents(img, want...)
	e.ok("flush", img.Flush(e.ctx))
	e.wantExtents(img, want...)

	e.ok("zero a part of a chunk", img.Zero(e.ctx, 300*chunk+4096, 8192))
	e.wantExtents(img, want...)
	e.ok("zero whole chunks", img.Zero(e.ctx, 6*chunk, 2*chunk))
	want = []extent{{0, chunk}, {5 * chunk, chunk}, {8 * chunk, chunk}, {300 * chunk, chunk}, {1000 * chunk, 12345}}
	e.wantExtents(img, want...)

	e.ok("create snapshot", img.CreateSnapshot(e.ctx))
	e.wantExtents(e.openSnapshot("image"), want...)
	e.ok("close", img.Close())
	e.wantExtents(e.open("image"), want...)

	small := e.create("small", 10)
	e.wantExtents(small)
	e.write(small, []byte{1}, 3)
	e.wantExtents(small, extent{0, 10})
	e.ok("resize", small.Resize(e.ctx, 3*chunk))
	e.wantExtents(small, extent{0, chunk})
	e.ok("resize", small.Resize(e.ctx, chunk/2))
	e.wantExtents(small, extent{0, chunk / 2})
}

// testExtentsStop checks that an error of the visitor ends the walk and comes back.
func testExtentsStop(e *env) {
	img := e.create("image", 100*chunk)
	for i := range int64(5) {
		e.write(img, []byte{1}, i*20*chunk)
	}
	stop := errors.New("stop here")
	calls := 0
	err := img.Extents(e.ctx, func(int64, int64) error {
		if calls++; calls == 2 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || calls != 2 {
		e.Errorf("extents returned %v after %d calls, want %v after 2", err, calls, stop)
	}
	if got := len(e.extents(img)); got != 5 { // and the handle is none the worse
		e.Errorf("the next walk reports %d extents, want 5", got)
	}
}
