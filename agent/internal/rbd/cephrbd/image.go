//go:build cgo

package cephrbd

import (
	"context"
	"errors"
	"io"

	librbd "github.com/ceph/go-ceph/rbd"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// cephImage is an image opened for writing.
type cephImage struct {
	reader
	name string
}

func newImage(h *handle, name string) *cephImage { return &cephImage{reader: reader{h}, name: name} }

// WriteAt writes at most a chunk at a time. There is no cache: when it returns nil the bytes are on the OSDs.
func (i *cephImage) WriteAt(ctx context.Context, p []byte, off int64) error {
	if err := i.writable(ctx, off, int64(len(p))); err != nil {
		return err
	}
	for len(p) > 0 {
		n := min(len(p), manifest.ChunkSize)
		if err := i.writeChunk(ctx, p[:n], off); err != nil {
			return err
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

func (i *cephImage) writeChunk(ctx context.Context, p []byte, off int64) error {
	var b []byte
	hold := func() (func(), error) { // runs here, once there is a slot: there are no more buffers than slots
		leave, err := i.h.enter()
		if err != nil {
			return nil, err
		}
		b = i.h.p.buffer(len(p))
		copy(b, p)
		return leave, nil
	}
	_, err := run(ctx, i.h.p.calls, "write", i.h.p.limit(), hold, func() (nothing, error) {
		defer i.h.p.recycle(b)
		n, err := i.h.img.WriteAt(b, off)
		if errors.Is(err, io.EOF) { // only after a concurrent Resize
			err = outOfRange(off, int64(len(b)), off+int64(n))
		}
		return nothing{}, i.h.p.examine(i.h.session, "write", err)
	}, nil)
	return err
}

// zeroStep is how much one call of Zero covers; the library refuses 2 GiB and more.
const zeroStep = 1 << 30

// Zero discards the range: whole objects are deleted, parts of objects are zeroed by the OSD.
func (i *cephImage) Zero(ctx context.Context, off, length int64) error {
	if err := i.writable(ctx, off, length); err != nil {
		return err
	}
	for length > 0 {
		n := min(length, zeroStep-off%zeroStep)
		at := off
		err := useOnly(ctx, i.h, "zero", i.h.p.longLimit(), func(img *librbd.Image) error {
			_, err := img.Discard(uint64(at), uint64(n))
			return err
		})
		if err != nil {
			return err
		}
		off, length = off+n, length-n
	}
	return nil
}

// writable checks a write before it starts.
func (i *cephImage) writable(ctx context.Context, off, length int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if i.h.frozen.Load() {
		return i.errFrozen()
	}
	if size := i.Size(); off < 0 || length < 0 || off > size-length {
		return outOfRange(off, length, size)
	}
	return nil
}

func (i *cephImage) errFrozen() error {
	return fault.New(fault.Precondition, "FROZEN", "image %s has a snapshot and cannot be written", i.name)
}

// Resize implements rbd.Image.
func (i *cephImage) Resize(ctx context.Context, size int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if size < 1 {
		return fault.BadField("size", "an image has at least 1 byte")
	}
	if i.h.frozen.Load() {
		return i.errFrozen()
	}
	return useOnly(ctx, i.h, "resize", i.h.p.longLimit(), func(img *librbd.Image) error {
		if err := img.Resize(uint64(size)); err != nil {
			return err
		}
		i.h.size.Store(size)
		return nil
	})
}

// Flush implements rbd.Image.
func (i *cephImage) Flush(ctx context.Context) error {
	return useOnly(ctx, i.h, "flush", i.h.p.limit(), (*librbd.Image).Flush)
}

// SetMeta implements rbd.Image.
func (i *cephImage) SetMeta(ctx context.Context, key, value string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if key == "" {
		return fault.BadField("key", "a key of metadata has at least 1 character")
	}
	return useOnly(ctx, i.h, "set_metadata", i.h.p.limit(), func(img *librbd.Image) error {
		if value == "" {
			return ignoreMissing(img.RemoveMetadata(key))
		}
		return img.SetMetadata(key, value)
	})
}
