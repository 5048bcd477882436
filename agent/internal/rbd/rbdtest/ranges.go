package rbdtest

import (
	"context"
	"sync"
)

// testSnapshotRanges reads parts of a published snapshot, several at a time, as downloads do: parts that begin and end
// anywhere, over chunks that hold nothing, up to the last byte.
func testSnapshotRanges(e *env) {
	const size = 5*chunk + 1234
	content := make([]byte, size)
	copy(content[100:], pattern(1, 2*chunk)) // the third and fourth chunk are holes
	copy(content[4*chunk+77:], pattern(2, chunk+1234-77))
	img := e.create("image", size)
	e.write(img, content[:3*chunk], 0)
	e.write(img, content[4*chunk:], 4*chunk)
	e.ok("flush", img.Flush(e.ctx))
	e.ok("create snapshot", img.CreateSnapshot(e.ctx))
	e.ok("protect snapshot", img.ProtectSnapshot(e.ctx))
	e.ok("close", img.Close())

	snap := e.openSnapshot("image")
	var wg sync.WaitGroup
	for _, part := range [][2]int{
		{0, 1},
		{0, size},
		{size - 1, 1},
		{99, 2},
		{chunk - 1, 2},
		{chunk, chunk},
		{2*chunk + 50, 100},
		{2*chunk + 101, 2 * chunk},
		{3*chunk + 5, chunk + 80},
		{4*chunk + 76, 2},
		{1, size - 2},
		{size, 0},
	} {
		wg.Go(func() {
			got := make([]byte, part[1])
			if err := snap.ReadAt(e.ctx, got, int64(part[0])); err != nil {
				e.Errorf("read %d bytes at %d: %v", part[1], part[0], err)
				return
			}
			for i, b := range content[part[0] : part[0]+part[1]] {
				if got[i] != b {
					e.Errorf("of %d bytes at %d, byte %d is %#x, want %#x", part[1], part[0], i, got[i], b)
					return
				}
			}
		})
	}
	wg.Wait()
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	e.wantCancelled("read after the end", snap.ReadAt(ctx, make([]byte, 10), 0))
}
