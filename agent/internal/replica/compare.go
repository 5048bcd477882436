package replica

import (
	"context"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// compare reads a snapshot and returns the numbers of the chunks that differ from the manifest, in order. It reads what
// the snapshot reports as data; what it does not report reads as zeroes, so a chunk of the manifest that is missing there
// is damaged. A snapshot of another length differs everywhere.
func (s *store) compare(ctx context.Context, snap rbd.Snapshot, man *manifest.Manifest, stock *buffers) ([]int, error) {
	if snap.Size() != man.Length {
		all := make([]int, len(man.Chunks))
		for i := range all {
			all[i] = i
		}
		return all, nil
	}
	var there bits
	err := snap.Extents(ctx, func(off, length int64) error {
		for i := off / manifest.ChunkSize; i*manifest.ChunkSize < off+length; i++ {
			there.add(int(i))
		}
		return nil
	})
	if err != nil {
		return nil, atStore(err)
	}
	c := comparison{snap: snap, man: man}
	g, ctx := errgroup.WithContext(ctx)
	chunks := make(chan int)
	g.Go(func() error {
		defer close(chunks)
		for i, d := range man.Chunks {
			switch {
			case !there.has(i) && !d.IsZero():
				c.add(i)
			case there.has(i):
				select {
				case chunks <- i:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
		return nil
	})
	for range readers {
		g.Go(func() error { return c.read(ctx, chunks, stock) })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	slices.Sort(c.damaged)
	return c.damaged, nil
}

// comparison collects what several readers find.
type comparison struct {
	snap    rbd.Snapshot
	man     *manifest.Manifest
	mu      sync.Mutex
	damaged []int
}

func (c *comparison) add(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.damaged = append(c.damaged, i)
}

func (c *comparison) read(ctx context.Context, chunks <-chan int, stock *buffers) error {
	buf, err := stock.get(ctx)
	if err != nil {
		return err
	}
	defer stock.put(buf)
	for i := range chunks {
		b := buf[:manifest.ChunkLen(c.man.Length, i)]
		if err := readChunk(ctx, c.snap, b, i); err != nil {
			return err
		}
		if frame.ChunkDigest(b) != c.man.Chunks[i] {
			c.add(i)
		}
	}
	return nil
}

// readChunk reads chunk i into b in the pieces that suit RBD.
func readChunk(ctx context.Context, r rbd.Reader, b []byte, i int) error {
	off := int64(i) * manifest.ChunkSize
	for len(b) > 0 {
		n := min(writeSize, len(b))
		if err := r.ReadAt(ctx, b[:n], off); err != nil {
			return atStore(err)
		}
		b, off = b[n:], off+int64(n)
	}
	return nil
}
