package rbd_test

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// TestWidener compares the reported ranges with a chunk-by-chunk model.
func TestWidener(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(1, 40*manifest.ChunkSize).Draw(t, "size")
		want := make([]bool, manifest.Count(size))
		got := make([]bool, len(want))
		end := int64(-1)
		w := rbd.NewWidener(size, func(off, length int64) error {
			if off <= end || off%manifest.ChunkSize != 0 || length < 1 || off+length > size {
				t.Fatalf("range %d+%d after %d", off, length, end)
			}
			if length%manifest.ChunkSize != 0 && off+length != size {
				t.Fatalf("range %d+%d ends inside of a chunk", off, length)
			}
			end = off + length
			for i := off / manifest.ChunkSize; i*manifest.ChunkSize < end; i++ {
				got[i] = true
			}
			return nil
		})
		for off := rapid.Int64Range(0, size).Draw(t, "start"); off < size; {
			length := rapid.Int64Range(1, min(size-off, 3*manifest.ChunkSize)).Draw(t, "length")
			if err := w.Add(off, length); err != nil {
				t.Fatal(err)
			}
			for i := off / manifest.ChunkSize; i*manifest.ChunkSize < off+length; i++ {
				want[i] = true
			}
			off += length + rapid.Int64Range(0, 3*manifest.ChunkSize).Draw(t, "hole")
		}
		if err := w.Finish(); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("chunks %v, want %v", got, want)
		}
	})
}

func TestWidenerStops(t *testing.T) {
	stop := errors.New("stop")
	w := rbd.NewWidener(100*manifest.ChunkSize, func(int64, int64) error { return stop })
	if err := w.Add(0, 1); err != nil {
		t.Errorf("nothing was reported yet, but got %v", err)
	}
	if err := w.Add(50*manifest.ChunkSize, 1); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}
