package replica

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// chunk is one chunk to bring into the hidden image.
type chunk struct {
	i      int
	digest manifest.Digest
	// read: the pool holds something that may be this chunk; look before fetching.
	read bool
	// fresh: the pool holds nothing at this place, so that zeroes need not be written.
	fresh bool
	// damaged: what the pool holds is wrong, and perhaps unknown to the image.
	damaged bool
}

// pump runs plan, which sends chunks, and the workers that bring them in, and beside them feed if not nil. It returns
// the first error when all have ended.
func (f *fill) pump(ctx context.Context, feed func(context.Context) error, plan func(context.Context, chan<- chunk) error) error {
	g, ctx := errgroup.WithContext(ctx)
	chunks := make(chan chunk)
	if feed != nil {
		g.Go(func() error { return feed(ctx) })
	}
	g.Go(func() error {
		defer close(chunks)
		return plan(ctx, chunks)
	})
	for range f.m.cfg.Workers {
		g.Go(func() error { return f.work(ctx, chunks) })
	}
	return g.Wait()
}

// plan decides for each chunk of the manifest, as it arrives, what has to be done, and hands it to the workers. Once the
// hub knows the whole manifest nothing is written before it is clear that the data fits.
func (f *fill) plan(ctx context.Context, out chan<- chunk) error {
	if f.j.want.root != (manifest.Digest{}) {
		select {
		case <-f.accepted:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for i := 0; ; {
		digests, end, err := f.stream.next(ctx, i)
		if err != nil {
			return err
		}
		for _, d := range digests {
			if err := f.planChunk(ctx, i, d, out); err != nil {
				return err
			}
			i++
		}
		if end != nil {
			return nil
		}
	}
}

func (f *fill) planChunk(ctx context.Context, i int, d manifest.Digest, out chan<- chunk) error {
	there := f.before.has(i)
	switch {
	case d.IsZero() && !there:
		f.track.finish(i, 0)
		return nil
	case f.has(i, d):
		f.resumed(i)
		return nil
	}
	select {
	case out <- chunk{i: i, digest: d, read: there, fresh: !there}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// resumed counts a chunk that was found in the store.
func (f *fill) resumed(i int) {
	n := int64(f.chunkLen(i))
	f.m.metrics.resumed.WithLabelValues(string(f.j.key.Store)).Add(float64(n))
	f.track.finish(i, n)
}

// chunkLen returns the length of chunk i as far as the length of the content is known.
func (f *fill) chunkLen(i int) int {
	length := f.j.want.size
	if end := f.stream.known(); end != nil {
		length = end.Length
	}
	if n := manifest.ChunkLen(length, i); n > 0 {
		return n
	}
	return manifest.ChunkSize
}
