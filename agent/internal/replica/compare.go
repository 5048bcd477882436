package replica

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// comparison compares a snapshot with a manifest. A chunk of which the store says the sum that it should say is as it was
// when that sum was made of bytes with the manifest's digest. All others are read. What the snapshot does not report as
// data reads as zeroes, so a chunk of the manifest that is missing there is damaged.
type comparison struct {
	snap  rbd.Snapshot
	man   *manifest.Manifest
	stock *buffers
	// sums is what the store should say of each chunk, 0 where that is not known. Nil: all is read. What is read and found
	// right is filled in. No two goroutines look at the same chunk.
	sums   []uint64
	proved *prometheus.CounterVec // by how

	there  *bits // chunks that the snapshot reports
	noSums atomic.Bool

	mu      sync.Mutex
	damaged []int
}

// How a chunk was proved.
const (
	bySum  = "checksum"
	byRead = "read"
)

// run returns the numbers of the chunks that differ, in order. A snapshot of another length differs everywhere.
func (c *comparison) run(ctx context.Context) ([]int, error) {
	if c.snap.Size() != c.man.Length {
		all := make([]int, len(c.man.Chunks))
		for i := range all {
			all[i] = i
		}
		return all, nil
	}
	var err error
	if c.there, err = dataChunks(ctx, c.snap); err != nil {
		return nil, err
	}
	g, ctx := errgroup.WithContext(ctx)
	chunks := make(chan int)
	g.Go(func() error {
		defer close(chunks)
		for i, d := range c.man.Chunks {
			switch {
			case !c.there.has(i) && !d.IsZero():
				c.add(i)
			case c.there.has(i) || c.asks(): // also of zeroes: the store may hold what the snapshot does not know of
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
		g.Go(func() error {
			for i := range chunks {
				same, err := c.check(ctx, i)
				if err != nil {
					return err
				}
				if !same {
					c.add(i)
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	slices.Sort(c.damaged)
	return c.damaged, nil
}

func (c *comparison) add(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.damaged = append(c.damaged, i)
}

// asks reports whether the store can be asked for sums, as far as is known.
func (c *comparison) asks() bool { return c.sums != nil && !c.noSums.Load() }

// check reports whether the store holds what the manifest says of a chunk.
func (c *comparison) check(ctx context.Context, i int) (bool, error) {
	zero := c.man.Chunks[i].IsZero()
	var said answer
	if c.asks() && (zero || c.sums[i] != 0) {
		var err error
		if said, err = c.ask(ctx, i); err != nil {
			return false, err
		}
	}
	switch {
	case said.known && zero && !said.held:
		c.proved.WithLabelValues(bySum).Inc()
		return true, nil
	case said.known && said.held && !zero && said.sum == c.sums[i]:
		c.proved.WithLabelValues(bySum).Inc()
		return true, nil
	case !c.there.has(i):
		// Zeroes for whoever believes the snapshot, which is not all who read the pool.
		return !said.known || c.zeroes(i, said.sum), nil
	}
	buf, err := c.stock.get(ctx)
	if err != nil {
		return false, err
	}
	defer c.stock.put(buf)
	b := buf[:manifest.ChunkLen(c.man.Length, i)]
	if err := readChunk(ctx, c.snap, b, i); err != nil {
		return false, err
	}
	c.proved.WithLabelValues(byRead).Inc()
	if frame.ChunkDigest(b) != c.man.Chunks[i] {
		return false, nil
	}
	return true, c.learn(ctx, i, b, said)
}

// zeroes reports whether sum is one of zeroes, as many as the store may hold of a chunk.
func (c *comparison) zeroes(i int, sum uint64) bool {
	for _, n := range []int{0, writeSize, manifest.ChunkLen(c.man.Length, i)} {
		if sum == sumOfZeroes(n) {
			return true
		}
	}
	return false
}

// answer is what a store says of a chunk.
type answer struct {
	known bool
	held  bool
	sum   uint64
}

func (c *comparison) ask(ctx context.Context, i int) (answer, error) {
	sum, held, err := c.snap.Sum(ctx, i)
	switch {
	case rbd.IsNoSums(err):
		c.noSums.Store(true)
		return answer{}, nil
	case err != nil:
		return answer{}, atStore(err)
	}
	return answer{known: true, held: held, sum: sum}, nil
}

// learn notes what the store should say of a chunk whose bytes are b and right.
func (c *comparison) learn(ctx context.Context, i int, b []byte, said answer) error {
	if !c.asks() || c.man.Chunks[i].IsZero() {
		return nil
	}
	end := dataEnd(b)
	if !said.known && len(b)-end < sector { // as good as certain that all of it is held
		c.sums[i] = sumOf(b)
		return nil
	}
	if !said.known {
		var err error
		if said, err = c.ask(ctx, i); err != nil {
			return err
		}
	}
	c.sums[i] = 0
	if !said.known || !said.held {
		return nil
	}
	for _, n := range []int{len(b), writeSize, (end + sector - 1) / sector * sector, (end + page - 1) / page * page, end} {
		if n >= end && n <= len(b) && sumOf(b[:n]) == said.sum {
			c.sums[i] = said.sum
			return nil
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
