//go:build cgo

package cephrbd

import (
	"context"

	librbd "github.com/ceph/go-ceph/rbd"
	"golang.org/x/sys/unix"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

type snapState struct{ exists, protected bool }

// SnapshotState implements rbd.Image.
func (i *cephImage) SnapshotState(ctx context.Context) (exists, protected bool, err error) {
	st, err := use(ctx, i.h, "snapshot_state", i.h.p.limit(), func(img *librbd.Image) (st snapState, err error) {
		st.exists, st.protected, err = snapshotState(img)
		return st, err
	}, nil)
	return st.exists, st.protected, err
}

// snapshotState looks for the snapshot among those of the image; others are somebody else's business.
func snapshotState(img *librbd.Image) (exists, protected bool, err error) {
	protected, err = img.GetSnapshot(rbd.SnapshotName).IsProtected()
	switch {
	case err == nil:
		return true, protected, nil
	case errno(err) == unix.ENOENT:
		return false, false, nil
	}
	return false, false, err
}

// CreateSnapshot implements rbd.Image.
func (i *cephImage) CreateSnapshot(ctx context.Context) error {
	return useOnly(ctx, i.h, "create_snapshot", i.h.p.limit(), func(img *librbd.Image) error {
		_, err := img.CreateSnapshot(rbd.SnapshotName)
		if errno(err) == unix.EEXIST {
			return fault.Wrap(err, fault.Exists, "SNAPSHOT_EXISTS", "image %s has a snapshot already", i.name)
		}
		if err == nil {
			i.h.frozen.Store(true)
		}
		return err
	})
}

// RemoveSnapshot implements rbd.Image.
func (i *cephImage) RemoveSnapshot(ctx context.Context) error {
	return useOnly(ctx, i.h, "remove_snapshot", i.h.p.limit(), func(img *librbd.Image) error {
		err := removeSnapshot(img)
		if errno(err) == unix.ENOENT {
			return snapshotMissing(i.name)
		}
		if err == nil {
			i.h.frozen.Store(false)
		}
		return err
	})
}

// ProtectSnapshot implements rbd.Image.
func (i *cephImage) ProtectSnapshot(ctx context.Context) error {
	return useOnly(ctx, i.h, "protect_snapshot", i.h.p.limit(), func(img *librbd.Image) error {
		snap := img.GetSnapshot(rbd.SnapshotName)
		err := snap.Protect()
		switch errno(err) {
		case unix.EBUSY: // protected already, or really busy
			if protected, e := snap.IsProtected(); e != nil || protected {
				return e
			}
			return err
		case unix.ENOENT:
			return snapshotMissing(i.name)
		default:
			return err
		}
	})
}
