package replica

import (
	"context"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// writeSize is the length of one write unless it is gentle: the measured best for RBD with eight writers.
const writeSize = 2 << 20

// work brings in chunks until there are no more.
func (f *fill) work(ctx context.Context, chunks <-chan chunk) error {
	for {
		select {
		case c, ok := <-chunks:
			if !ok {
				return nil
			}
			if err := f.bringInTurn(ctx, c); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// bringInTurn brings in a chunk once the fill has a place. A fill without one holds no buffer.
func (f *fill) bringInTurn(ctx context.Context, c chunk) error {
	if err := f.turn(ctx); err != nil {
		return err
	}
	buf, err := f.s.writing.get(ctx)
	if err != nil {
		return err
	}
	defer f.s.writing.put(buf)
	return f.bring(ctx, c, buf)
}

// bring makes the hidden image hold one chunk.
func (f *fill) bring(ctx context.Context, c chunk, buf []byte) error {
	if c.digest.IsZero() {
		return f.zero(ctx, c)
	}
	if c.read {
		sum, same, err := f.holds(ctx, c, buf)
		if err != nil {
			return err
		}
		if same {
			f.note(ctx, c.i, c.digest, sum)
			f.resumed(c.i)
			return nil
		}
	}
	raw, err := f.fetch(ctx, c, buf)
	if err != nil {
		return err
	}
	sum := f.sum(raw, c.fresh)
	if err := f.put(ctx, c, raw); err != nil {
		return err
	}
	f.note(ctx, c.i, c.digest, sum)
	f.track.finish(c.i, 0)
	if c.fresh {
		f.keepPromise(manifest.ChunkSize)
	}
	return nil
}

// zero makes a chunk read as zeroes.
func (f *fill) zero(ctx context.Context, c chunk) error {
	off := int64(c.i) * manifest.ChunkSize
	if n := min(manifest.ChunkSize, f.sizeNow()-off); n > 0 {
		if c.damaged { // an object that the image does not know of is not removed unless something is written to it
			if err := f.img.WriteAt(ctx, []byte{0}, off); err != nil {
				return atStore(err)
			}
		}
		if err := f.img.Zero(ctx, off, n); err != nil {
			return atStore(err)
		}
	}
	f.track.finish(c.i, 0)
	return nil
}

// holds reports whether the hidden image holds the chunk already, and what the store should say of it then. It reads what the
// store's sum does not acquit.
func (f *fill) holds(ctx context.Context, c chunk, buf []byte) (sum uint64, same bool, err error) {
	if want, ok := f.ledger.sum(c.i, c.digest); ok && !f.noSums.Load() {
		got, held, err := f.img.Sum(ctx, c.i)
		switch {
		case rbd.IsNoSums(err):
			f.noSums.Store(true)
		case err != nil:
			return 0, false, atStore(err)
		case held && got == want:
			f.proved.WithLabelValues(bySum).Inc()
			return want, true, nil
		}
	}
	if same, err = f.compare(ctx, c, buf); err != nil || !same {
		return 0, false, err
	}
	f.proved.WithLabelValues(byRead).Inc()
	return f.sum(buf[:f.chunkLen(c.i)], false), true, nil
}

// compare reads the chunk and reports whether it is right.
func (f *fill) compare(ctx context.Context, c chunk, buf []byte) (bool, error) {
	off := int64(c.i) * manifest.ChunkSize
	n := min(int64(f.chunkLen(c.i)), f.sizeNow()-off)
	if n <= 0 {
		return false, nil
	}
	if err := f.img.ReadAt(ctx, buf[:n], off); err != nil {
		return false, atStore(err)
	}
	return frame.Sum(buf[:n]) == c.digest, nil
}

// put writes a chunk. On a fresh place halves of zeroes are left out.
func (f *fill) put(ctx context.Context, c chunk, raw []byte) error {
	off := int64(c.i) * manifest.ChunkSize
	if err := f.fit(ctx, off+int64(len(raw))); err != nil {
		return err
	}
	for len(raw) > 0 {
		half := raw[:min(writeSize, len(raw))]
		if !c.fresh || !frame.IsZero(half) {
			if err := f.writePieces(ctx, half, off); err != nil {
				return err
			}
		}
		raw, off = raw[len(half):], off+int64(len(half))
	}
	return nil
}

func (f *fill) writePieces(ctx context.Context, b []byte, off int64) error {
	for len(b) > 0 {
		part := b[:min(f.s.valve.piece, len(b))]
		if err := f.s.valve.do(ctx, len(part), func() error { return f.img.WriteAt(ctx, part, off) }); err != nil {
			return atStore(err)
		}
		f.m.metrics.written.WithLabelValues(string(f.j.key.Store)).Add(float64(len(part)))
		b, off = b[len(part):], off+int64(len(part))
	}
	return nil
}

// fetch gets a chunk from the hub. It waits for the hub as long as ctx allows; a chunk that arrives corrupt is fetched
// again a few times.
func (f *fill) fetch(ctx context.Context, c chunk, buf []byte) ([]byte, error) {
	wait, corrupt := f.m.hubPolicy().Backoff(), 0
	get := f.get
	for {
		asked := f.m.cfg.Now()
		limited, cancel := context.WithTimeout(ctx, f.m.pace.frame)
		raw, wire, err := get(limited, f.j.want.content, c.i, c.digest, buf)
		cancel()
		f.m.metrics.received.WithLabelValues(string(f.j.key.Store)).Add(float64(wire))
		f.track.receive(wire)
		if short := int64(len(raw)) - wire; short > 0 {
			f.track.save(short)
			f.m.metrics.saved.WithLabelValues(string(f.j.key.Store)).Add(float64(short))
		}
		switch {
		case err == nil:
			f.flowing()
			return raw, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case fault.Is(err, fault.Corrupt):
			f.corrupt(whereFrame, c.i)
			if corrupt++; corrupt == corruptLimit {
				return nil, fault.Wrap(err, fault.Corrupt, "CORRUPT", "chunk %d arrived damaged %d times", c.i, corrupt)
			}
			get = f.m.cfg.Frames.Refetch
		case !hubWait(err):
			return nil, err
		default:
			f.waiting(err)
			if fault.ReasonOf(err) == frame.ReasonPending && f.m.cfg.Now().Sub(asked) > f.m.pace.hubMax {
				continue // the hub has done the waiting
			}
			if err := wait.Wait(ctx); err != nil {
				return nil, err
			}
		}
	}
}

// corrupt counts a chunk that has to be fetched again.
func (f *fill) corrupt(where string, i int) {
	f.m.metrics.corrupt.WithLabelValues(string(f.j.key.Store), where).Inc()
	f.track.repair()
	f.log.Warn("corrupt chunk, fetching it again", "chunk", i, "where", where)
}
