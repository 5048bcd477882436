package replica

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// Whatever the order in which chunks are finished and taken back, the figures are those of a plain count.
func TestTracker(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		length := rapid.Int64Range(1, 200*manifest.ChunkSize).Draw(t, "length")
		count := manifest.Count(length)
		tr := &tracker{hint: length}
		if rapid.Bool().Draw(t, "known") {
			tr.setLength(length)
		}
		done := map[int]bool{}
		for range rapid.IntRange(0, 400).Draw(t, "steps") {
			i := rapid.IntRange(0, count-1).Draw(t, "chunk")
			if rapid.IntRange(0, 4).Draw(t, "undo") == 0 {
				tr.undo(i)
				delete(done, i)
			} else {
				tr.finish(i, 0)
				done[i] = true
			}
		}
		var bytes, contiguous int64
		for i := range done {
			bytes += int64(manifest.ChunkLen(length, i))
		}
		for done[int(contiguous)] {
			contiguous++
		}
		p := tr.report()
		if p.BytesDone != bytes || p.ChunksContiguous != contiguous || p.BytesTotal != length {
			t.Fatalf("%v: want %d bytes, %d contiguous of %d", p, bytes, contiguous, length)
		}
	})
}

func TestTrackerWithAWrongHint(t *testing.T) {
	tr := &tracker{hint: 10}
	tr.finish(0, 0)
	tr.finish(1, 0)
	if p := tr.report(); p.BytesTotal != 0 || p.BytesDone < manifest.ChunkSize {
		t.Errorf("%v", p)
	}
	if (*tracker)(nil).report() != nil {
		t.Error("no attempt reports progress")
	}
}
