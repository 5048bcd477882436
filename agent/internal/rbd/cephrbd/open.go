//go:build cgo

package cephrbd

import (
	"context"
	"errors"

	librbd "github.com/ceph/go-ceph/rbd"
	"golang.org/x/sys/unix"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

// Create implements rbd.Images.
func (p *Pool) Create(ctx context.Context, name string, size int64) (rbd.Image, error) {
	if err := checkName("name", name); err != nil {
		return nil, err
	}
	if size < 1 {
		return nil, fault.BadField("size", "an image has at least 1 byte")
	}
	h, err := changing(ctx, p, "create", p.limit(), func(s *session) (*handle, error) {
		if err := s.makeFree(name); err != nil {
			return nil, err
		}
		if err := p.create(s, name, size); err != nil {
			return nil, err
		}
		return p.openHandle(s, name)
	}, closeLate, name)
	if err != nil {
		return nil, err
	}
	return newImage(h, name), nil
}

func (p *Pool) create(s *session, name string, size int64) error {
	options := librbd.NewRbdImageOptions()
	defer options.Destroy()
	err := errors.Join(
		options.SetUint64(librbd.ImageOptionFeatures, p.config.Features),
		options.SetUint64(librbd.ImageOptionOrder, uint64(p.config.ObjectOrder)),
	)
	if err != nil {
		return err
	}
	err = librbd.CreateImage(s.ioctx, name, uint64(size), options)
	if errno(err) == unix.EEXIST {
		return exists(name)
	}
	return err
}

// Open implements rbd.Images.
func (p *Pool) Open(ctx context.Context, name string) (rbd.Image, error) {
	if err := checkName("name", name); err != nil {
		return nil, err
	}
	h, err := do(ctx, p, "open", p.limit(), func(s *session) (*handle, error) {
		if err := s.mustExist(name); err != nil {
			return nil, err
		}
		return p.openHandle(s, name)
	}, closeLate)
	if err != nil {
		return nil, err
	}
	return newImage(h, name), nil
}

// openHandle opens an image for writing.
func (p *Pool) openHandle(s *session, name string) (*handle, error) {
	img, err := librbd.OpenImage(s.ioctx, name, librbd.NoSnapshot)
	if errno(err) == unix.ENOENT {
		return nil, notFound(name)
	}
	if err != nil {
		return nil, err
	}
	frozen, _, err := snapshotState(img)
	if err != nil {
		return nil, errors.Join(err, img.Close())
	}
	h, err := p.newHandle(s, img, false)
	if err != nil {
		return nil, err
	}
	h.frozen.Store(frozen)
	return h, nil
}

// OpenSnapshot implements rbd.Images.
func (p *Pool) OpenSnapshot(ctx context.Context, name string) (rbd.Snapshot, error) {
	if err := checkName("name", name); err != nil {
		return nil, err
	}
	h, err := do(ctx, p, "open_snapshot", p.limit(), func(s *session) (*handle, error) {
		if err := s.mustExist(name); err != nil {
			return nil, err
		}
		img, err := librbd.OpenImageReadOnly(s.ioctx, name, rbd.SnapshotName)
		if errno(err) == unix.ENOENT {
			return nil, snapshotMissing(name)
		}
		if err != nil {
			return nil, err
		}
		return p.newHandle(s, img, true)
	}, closeLate)
	if err != nil {
		return nil, err
	}
	return &cephSnapshot{reader{h}}, nil
}
