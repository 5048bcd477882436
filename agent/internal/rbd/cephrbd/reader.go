//go:build cgo

package cephrbd

import (
	"context"
	"errors"
	"io"

	librbd "github.com/ceph/go-ceph/rbd"
	"golang.org/x/sys/unix"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// reader is the part that images and snapshots share.
type reader struct{ h *handle }

// cephSnapshot is an image opened read-only at its snapshot: it takes no lock and registers no watch.
type cephSnapshot struct{ reader }

// Size implements rbd.Reader.
func (r reader) Size() int64 { return r.h.size.Load() }

// Close implements rbd.Reader.
func (r reader) Close() error { return r.h.Close() }

// ReadAt reads at most a chunk at a time.
func (r reader) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if off < 0 || off > r.Size()-int64(len(p)) {
		return outOfRange(off, int64(len(p)), r.Size())
	}
	for len(p) > 0 {
		n := min(len(p), manifest.ChunkSize)
		b, err := use(ctx, r.h, "read", r.h.p.limit(), func(img *librbd.Image) ([]byte, error) {
			b := r.h.p.buffer(n)
			got, err := img.ReadAt(b, off)
			if err == nil {
				return b, nil
			}
			r.h.p.recycle(b)
			if errors.Is(err, io.EOF) { // only after a concurrent Resize
				return nil, outOfRange(off, int64(n), off+int64(got))
			}
			return nil, err
		}, r.h.p.recycle)
		if err != nil {
			return err
		}
		copy(p, b)
		r.h.p.recycle(b)
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// Meta implements rbd.Snapshot.
func (r reader) Meta(ctx context.Context, key string) (string, error) {
	return use(ctx, r.h, "get_metadata", r.h.p.limit(), func(img *librbd.Image) (string, error) {
		value, err := img.GetMetadata(key)
		return value, ignoreMissing(err)
	}, nil)
}

// window is how much of an image one library call looks at in Extents; a multiple of every object size.
const window = 64 << 30

// Extents asks for whole objects: with the feature fast-diff that reads the object map only. The library can be neither
// trusted with ranges that cut objects nor interrupted, so it is asked window by window.
func (r reader) Extents(ctx context.Context, visit func(off, length int64) error) error {
	size := r.Size()
	w := rbd.NewWidener(size, visit)
	for off := int64(0); off < size; off += window {
		found, err := r.diff(ctx, off, min(window, size-off))
		if err != nil {
			return err
		}
		for _, x := range found {
			if err := w.Add(x.off, x.length); err != nil {
				return err
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return w.Finish()
}

type extent struct{ off, length int64 }

func (r reader) diff(ctx context.Context, off, length int64) ([]extent, error) {
	return use(ctx, r.h, "extents", r.h.p.longLimit(), func(img *librbd.Image) ([]extent, error) {
		var found []extent
		err := img.DiffIterate(librbd.DiffIterateConfig{
			SnapName: librbd.NoSnapshot, Offset: uint64(off), Length: uint64(length),
			IncludeParent: librbd.IncludeParent, WholeObject: librbd.EnableWholeObject,
			Callback: func(off, length uint64, exists int, _ any) int {
				if ctx.Err() != nil {
					return -int(unix.ECANCELED)
				}
				if exists != 0 && length > 0 { // the others are known to be zeroes
					found = append(found, extent{int64(off), int64(length)})
				}
				return 0
			},
		})
		return found, err
	}, nil)
}
