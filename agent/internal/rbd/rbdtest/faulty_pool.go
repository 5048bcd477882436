package rbdtest

import (
	"context"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
)

// Info implements rbd.Pool.
func (f *Faulty) Info(ctx context.Context) (info rbd.Info, err error) {
	err = f.do(ctx, OpInfo, "", func() error { info, err = f.Pool.Info(ctx); return err })
	return info, err
}

// List implements rbd.Names.
func (f *Faulty) List(ctx context.Context) (names []string, err error) {
	err = f.do(ctx, OpList, "", func() error { names, err = f.Pool.List(ctx); return err })
	return names, err
}

// Rename implements rbd.Names.
func (f *Faulty) Rename(ctx context.Context, from, to string) error {
	return f.do(ctx, OpRename, from, func() error { return f.Pool.Rename(ctx, from, to) })
}

// Remove implements rbd.Names.
func (f *Faulty) Remove(ctx context.Context, name string) error {
	return f.do(ctx, OpRemove, name, func() error { return f.Pool.Remove(ctx, name) })
}

// Children implements rbd.Names.
func (f *Faulty) Children(ctx context.Context, name string) (n int, err error) {
	err = f.do(ctx, OpChildren, name, func() error { n, err = f.Pool.Children(ctx, name); return err })
	return n, err
}

// Create implements rbd.Images.
func (f *Faulty) Create(ctx context.Context, name string, size int64) (rbd.Image, error) {
	return open(ctx, f, OpCreate, name, func() (rbd.Image, error) { return f.Pool.Create(ctx, name, size) }, f.image)
}

// Open implements rbd.Images.
func (f *Faulty) Open(ctx context.Context, name string) (rbd.Image, error) {
	return open(ctx, f, OpOpen, name, func() (rbd.Image, error) { return f.Pool.Open(ctx, name) }, f.image)
}

// OpenSnapshot implements rbd.Images.
func (f *Faulty) OpenSnapshot(ctx context.Context, name string) (rbd.Snapshot, error) {
	return open(ctx, f, OpOpenSnapshot, name, func() (rbd.Snapshot, error) { return f.Pool.OpenSnapshot(ctx, name) }, f.snapshot)
}

func (f *Faulty) image(name string, inner rbd.Image) rbd.Image {
	return &faultyImage{Image: inner, f: f, name: name}
}

func (f *Faulty) snapshot(name string, inner rbd.Snapshot) rbd.Snapshot {
	return &faultySnapshot{Snapshot: inner, f: f, name: name}
}

// open opens a handle under a fault and wraps it; a handle that must not be returned is closed.
func open[H rbd.Reader](ctx context.Context, f *Faulty, op Op, name string, call func() (H, error), wrap func(string, H) H) (none H, _ error) {
	x, err := f.take(ctx, op, name)
	if err != nil {
		return none, err
	}
	h, err := call()
	if err != nil {
		return none, err
	}
	if x.after != nil {
		_ = h.Close()
		return none, x.after
	}
	return wrap(name, h), nil
}
