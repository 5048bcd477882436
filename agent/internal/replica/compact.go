package replica

import (
	"context"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// When chunks are fetched in a shorter form.
const (
	CompactAuto   = "auto"   // while the link is slower than fastLink, or fastForDeltas where there is a base
	CompactAlways = "always" // also on a fast link, to save its bytes
	CompactNever  = "never"
)

// The rates in bytes per second from which on a chunk may be sooner here as it is: making a shorter form takes about 4 CPU seconds
// per GiB at the hub. What differs from a base is a small part of the chunk, a compressed one half of it or so.
const (
	fastLink      = 30 << 20
	fastForDeltas = 100 << 20
)

// compact reports whether chunks should be fetched in a shorter form now, which is done up to a rate of the link.
func (m *Manager) compact(limit float64) bool {
	switch m.cfg.Compact {
	case CompactAlways:
		return true
	case CompactNever:
		return false
	default:
		return m.cfg.Frames.LinkRate() < limit
	}
}

// get fetches a chunk in the form that suits the link.
func (f *fill) get(ctx context.Context, content image.ID, index int, want manifest.Digest, dst []byte) ([]byte, int64, error) {
	if !f.m.compact(fastForDeltas) {
		return f.m.cfg.Frames.Get(ctx, content, index, want, dst)
	}
	base := f.basis(ctx)
	switch {
	case base == nil && f.m.compact(fastLink):
		return f.m.cfg.Frames.GetCompact(ctx, content, index, want, dst, nil)
	case base == nil:
		return f.m.cfg.Frames.Get(ctx, content, index, want, dst)
	}
	raw, wire, err := f.m.cfg.Frames.GetCompact(ctx, content, index, want, dst, &frame.Base{
		Content: base.content, Bytes: baseReader{ctx, base.snap},
	})
	if fault.Is(err, fault.Corrupt) && f.base.CompareAndSwap(base, nil) { // the link may be to blame, but then nothing is lost
		f.log.Warn("base not used any more", "base", string(base.image), "chunk", index, "error", err)
	}
	return raw, wire, err
}

// base is a copy in the same store that may have most of what is to be written.
type base struct {
	image   image.ID
	content image.ID
	snap    rbd.Snapshot
}

// maxBases is how many bases a fill opens, one after the other.
const maxBases = 3

// basis returns the base to use now; nil when there is none. The hub may name another one when it knows the whole content.
func (f *fill) basis(ctx context.Context) *base {
	f.baseMu.Lock()
	defer f.baseMu.Unlock()
	if b := f.m.wantedBase(f.j); b != f.named && len(f.opened) < maxBases {
		f.named = b
		f.openBase(ctx, b)
	}
	return f.base.Load()
}

// wantedBase returns the base that the hub names now.
func (m *Manager) wantedBase(j job) base {
	m.mu.Lock()
	defer m.mu.Unlock()
	if j.replica.seq != j.seq {
		return j.want.base
	}
	return j.replica.want.base
}

// openBase opens the copy that the hub has named. Without it everything takes longer and nothing fails. baseMu held.
func (f *fill) openBase(ctx context.Context, b base) {
	f.base.Store(nil)
	if b.image == "" {
		return
	}
	log := f.log.With("base", string(b.image))
	snap, err := f.s.pool.OpenSnapshot(ctx, publishedName(b.image))
	if err != nil {
		log.Info("base not used", "error", err)
		return
	}
	content, err := snap.Meta(ctx, metaContent)
	if err != nil || content != string(b.content) {
		log.Info("base not used: the pool holds another content", "error", err)
		closed(snap)
		return
	}
	b.snap = snap
	f.opened = append(f.opened, snap)
	f.base.Store(&b)
	log.Info("base in use")
}

func closeBases(snaps []rbd.Snapshot, log hclog.Logger) {
	for _, s := range snaps {
		if err := s.Close(); err != nil {
			log.Warn("base not closed", "error", err)
		}
	}
}

// baseReader reads a base as deltas do. What cannot be read is as bad as a base that is damaged: the chunk is fetched
// as it is then.
type baseReader struct {
	ctx  context.Context
	snap rbd.Snapshot
}

// ReadAt fills p.
func (b baseReader) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > b.snap.Size() {
		return 0, fault.New(fault.Corrupt, "BASE_UNREADABLE", "the base is shorter than the hub says")
	}
	if err := b.snap.ReadAt(b.ctx, p, off); err != nil {
		return 0, fault.Wrap(err, fault.Corrupt, "BASE_UNREADABLE", "the base cannot be read")
	}
	return len(p), nil
}
