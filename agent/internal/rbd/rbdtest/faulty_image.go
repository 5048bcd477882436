package rbdtest

import (
	"context"
	"slices"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
)

type faultyImage struct {
	rbd.Image
	f    *Faulty
	name string
}

// ReadAt implements rbd.Image.
func (i *faultyImage) ReadAt(ctx context.Context, p []byte, off int64) error {
	return i.f.do(ctx, OpReadAt, i.name, func() error { return i.Image.ReadAt(ctx, p, off) })
}

// Extents implements rbd.Image.
func (i *faultyImage) Extents(ctx context.Context, visit func(off, length int64) error) error {
	return i.f.do(ctx, OpExtents, i.name, func() error { return i.Image.Extents(ctx, visit) })
}

// WriteAt implements rbd.Image.
func (i *faultyImage) WriteAt(ctx context.Context, p []byte, off int64) error {
	x, err := i.f.take(ctx, OpWriteAt, i.name)
	if err != nil {
		return err
	}
	switch {
	case x.drop:
		return nil
	case x.corrupt && len(p) > 0:
		p = slices.Clone(p)
		p[len(p)/2] ^= 0x10
	}
	if err := i.Image.WriteAt(ctx, p, off); err != nil {
		return err
	}
	return x.after
}

// Zero implements rbd.Image.
func (i *faultyImage) Zero(ctx context.Context, off, length int64) error {
	return i.f.do(ctx, OpZero, i.name, func() error { return i.Image.Zero(ctx, off, length) })
}

// Resize implements rbd.Image.
func (i *faultyImage) Resize(ctx context.Context, size int64) error {
	return i.f.do(ctx, OpResize, i.name, func() error { return i.Image.Resize(ctx, size) })
}

// Flush implements rbd.Image.
func (i *faultyImage) Flush(ctx context.Context) error {
	return i.f.do(ctx, OpFlush, i.name, func() error { return i.Image.Flush(ctx) })
}

// Meta implements rbd.Image.
func (i *faultyImage) Meta(ctx context.Context, key string) (value string, err error) {
	err = i.f.do(ctx, OpMeta, i.name, func() error { value, err = i.Image.Meta(ctx, key); return err })
	return value, err
}

// Sum implements rbd.Image.
func (i *faultyImage) Sum(ctx context.Context, n int) (sum uint64, held bool, err error) {
	err = i.f.do(ctx, OpSum, i.name, func() error { sum, held, err = i.Image.Sum(ctx, n); return err })
	return sum, held, err
}

// SetMeta implements rbd.Image.
func (i *faultyImage) SetMeta(ctx context.Context, key, value string) error {
	return i.f.do(ctx, OpSetMeta, i.name, func() error { return i.Image.SetMeta(ctx, key, value) })
}

// SnapshotState implements rbd.Image.
func (i *faultyImage) SnapshotState(ctx context.Context) (exists, protected bool, err error) {
	err = i.f.do(ctx, OpSnapshotState, i.name, func() error { exists, protected, err = i.Image.SnapshotState(ctx); return err })
	return exists, protected, err
}

// CreateSnapshot implements rbd.Image.
func (i *faultyImage) CreateSnapshot(ctx context.Context) error {
	return i.f.do(ctx, OpCreateSnapshot, i.name, func() error { return i.Image.CreateSnapshot(ctx) })
}

// RemoveSnapshot implements rbd.Image.
func (i *faultyImage) RemoveSnapshot(ctx context.Context) error {
	return i.f.do(ctx, OpRemoveSnapshot, i.name, func() error { return i.Image.RemoveSnapshot(ctx) })
}

// ProtectSnapshot implements rbd.Image.
func (i *faultyImage) ProtectSnapshot(ctx context.Context) error {
	return i.f.do(ctx, OpProtectSnapshot, i.name, func() error { return i.Image.ProtectSnapshot(ctx) })
}

type faultySnapshot struct {
	rbd.Snapshot
	f    *Faulty
	name string
}

// ReadAt implements rbd.Snapshot.
func (s *faultySnapshot) ReadAt(ctx context.Context, p []byte, off int64) error {
	return s.f.do(ctx, OpReadAt, s.name, func() error { return s.Snapshot.ReadAt(ctx, p, off) })
}

// Extents implements rbd.Snapshot.
func (s *faultySnapshot) Extents(ctx context.Context, visit func(off, length int64) error) error {
	return s.f.do(ctx, OpExtents, s.name, func() error { return s.Snapshot.Extents(ctx, visit) })
}

// Meta implements rbd.Snapshot.
func (s *faultySnapshot) Meta(ctx context.Context, key string) (value string, err error) {
	err = s.f.do(ctx, OpMeta, s.name, func() error { value, err = s.Snapshot.Meta(ctx, key); return err })
	return value, err
}

// Sum implements rbd.Snapshot.
func (s *faultySnapshot) Sum(ctx context.Context, i int) (sum uint64, held bool, err error) {
	err = s.f.do(ctx, OpSum, s.name, func() error { sum, held, err = s.Snapshot.Sum(ctx, i); return err })
	return sum, held, err
}
