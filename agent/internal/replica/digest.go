package replica

import (
	"context"
	"crypto/md5"  //nolint:gosec // the Image API publishes it
	"crypto/sha1" //nolint:gosec // callers may state it
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// digests are what the bytes of a whole copy yield.
type digests struct {
	man                       *manifest.Manifest
	root                      manifest.Digest
	md5, sha1, sha256, sha512 string // in hex
}

// ahead is how many chunks one digestion holds in memory.
const ahead = 2 * readers

// digestion reads a copy once. Chunks are read and hashed for the manifest in any order by several readers; the digests of
// the whole copy take them in order, each in a goroutine of its own, as MD5 alone sets the pace otherwise. Chunks that the
// store reports as holes are not read: they only cost what hashing zeroes costs.
type digestion struct {
	snap  rbd.Reader
	track *tracker
	man   *manifest.Manifest
	stock *buffers
	sums  []hash.Hash
}

// piece is one chunk on its way through a digestion.
type piece struct {
	i    int
	n    int           // length in bytes
	b    []byte        // nil for a hole
	read chan struct{} // closed when b has been filled; nil for a hole
	left atomic.Int32  // digests that have not taken it yet
}

// digest reads all of a copy of at least 1 byte.
func digest(ctx context.Context, snap rbd.Reader, track *tracker) (*digests, error) {
	d := newDigestion(snap, track)
	d.sums = []hash.Hash{md5.New(), sha1.New(), sha256.New(), sha512.New()} //nolint:gosec // see the imports
	if err := d.run(ctx); err != nil {
		return nil, err
	}
	return &digests{
		man: d.man, root: d.man.Root(frame.Sum),
		md5: d.sum(0), sha1: d.sum(1), sha256: d.sum(2), sha512: d.sum(3),
	}, nil
}

// describe reads all of a copy of at least 1 byte for its manifest alone.
func describe(ctx context.Context, snap rbd.Reader) (*manifest.Manifest, error) {
	d := newDigestion(snap, &tracker{})
	return d.man, d.run(ctx)
}

func newDigestion(snap rbd.Reader, track *tracker) *digestion {
	size := snap.Size()
	track.setLength(size)
	return &digestion{
		snap: snap, track: track, stock: newBuffers(ahead),
		man: &manifest.Manifest{Length: size, Chunks: make([]manifest.Digest, manifest.Count(size))},
	}
}

func (d *digestion) sum(i int) string { return hex.EncodeToString(d.sums[i].Sum(nil)) }

// dataChunks returns the chunks that may hold data.
func dataChunks(ctx context.Context, r rbd.Reader) (*bits, error) {
	there := &bits{}
	err := r.Extents(ctx, func(off, length int64) error {
		for i := off / manifest.ChunkSize; i*manifest.ChunkSize < off+length; i++ {
			there.add(int(i))
		}
		return nil
	})
	return there, atStore(err)
}

func (d *digestion) run(ctx context.Context) error {
	there, err := dataChunks(ctx, d.snap)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	todo, inOrder := make(chan *piece), make(chan *piece, ahead)
	g.Go(func() error { return d.plan(ctx, there, todo, inOrder) })
	for range readers {
		g.Go(func() error { return d.readPieces(ctx, todo) })
	}
	queues := make([]chan *piece, len(d.sums))
	for i, h := range d.sums {
		queues[i] = make(chan *piece, ahead)
		g.Go(func() error { return d.hash(ctx, h, queues[i]) })
	}
	g.Go(func() error {
		for _, q := range queues {
			defer close(q)
		}
		return d.spread(ctx, inOrder, queues)
	})
	return g.Wait()
}

// plan hands out all chunks in order. Buffers are taken in order too, so that the oldest chunk always has one.
func (d *digestion) plan(ctx context.Context, there *bits, todo, inOrder chan<- *piece) error {
	defer close(todo)
	defer close(inOrder)
	for i := range d.man.Chunks {
		p := &piece{i: i, n: manifest.ChunkLen(d.man.Length, i)}
		p.left.Store(int32(len(d.sums)))
		if there.has(i) {
			buf, err := d.stock.get(ctx)
			if err != nil {
				return err
			}
			p.b, p.read = buf[:p.n], make(chan struct{})
			if err := send(ctx, todo, p); err != nil {
				return err
			}
		}
		if err := send(ctx, inOrder, p); err != nil {
			return err
		}
	}
	return nil
}

func send(ctx context.Context, to chan<- *piece, p *piece) error {
	select {
	case to <- p:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *digestion) readPieces(ctx context.Context, todo <-chan *piece) error {
	for p := range todo {
		if err := readChunk(ctx, d.snap, p.b, p.i); err != nil {
			return err
		}
		d.man.Chunks[p.i] = frame.ChunkDigest(p.b)
		close(p.read)
	}
	return nil
}

// spread gives each chunk, once it is read, to all digests of the whole.
func (d *digestion) spread(ctx context.Context, inOrder <-chan *piece, queues []chan *piece) error {
	for p := range inOrder {
		if p.read != nil {
			select {
			case <-p.read:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		for _, q := range queues {
			if err := send(ctx, q, p); err != nil {
				return err
			}
		}
		if len(queues) == 0 && p.b != nil {
			d.stock.put(p.b[:cap(p.b)])
		}
		d.track.finish(p.i, 0)
	}
	return nil
}

// zeroes are hashed for holes: few enough to stay in the processor's cache.
var zeroes [256 << 10]byte

func (d *digestion) hash(ctx context.Context, h hash.Hash, queue <-chan *piece) error {
	for p := range queue {
		if err := ctx.Err(); err != nil {
			return err
		}
		if p.b == nil {
			for n := p.n; n > 0; n -= min(n, len(zeroes)) {
				_, _ = h.Write(zeroes[:min(n, len(zeroes))])
			}
			continue
		}
		_, _ = h.Write(p.b)
		if p.left.Add(-1) == 0 {
			d.stock.put(p.b[:cap(p.b)])
		}
	}
	return nil
}
