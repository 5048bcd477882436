//go:build cgo

package cephrbd

import (
	"context"
	"errors"

	"github.com/ceph/go-ceph/rados"
	librbd "github.com/ceph/go-ceph/rbd"
	"golang.org/x/sys/unix"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
)

// removedKey marks images in the pool's trash that Remove put there, in their metadata. Others are not ours to delete.
const removedKey = "atoll.removed"

// mostSwept bounds how many images in the trash one Remove looks at.
const mostSwept = 64

// Remove implements rbd.Names. With clones of format 2 the library lets the snapshot go (it lives on where only the clones
// see it) and refuses to delete the image, which then moves to the pool's trash. There it stays until a later Remove finds
// the clones gone.
func (p *Pool) Remove(ctx context.Context, name string) error {
	return p.change(ctx, "remove", p.longLimit(), func(s *session) error {
		if err := s.remove(name); err != nil {
			return err
		}
		s.sweepTrash(p)
		return nil
	}, name)
}

func (s *session) remove(name string) error {
	if err := s.mustExist(name); err != nil {
		return err
	}
	// Look before touching anything: an image that is refused stays complete.
	busy, err := s.watched(name)
	if err != nil && errno(err) != unix.ENOENT { // ENOENT: a wreck, which RemoveImage clears away
		return err
	}
	if busy {
		return inUse(name)
	}
	if err == nil {
		if err := s.dropSnapshot(name); err != nil {
			return err
		}
	}
	err = librbd.RemoveImage(s.ioctx, name)
	switch errno(err) {
	case unix.ENOENT:
		return nil
	case unix.ENOTEMPTY:
		return s.trash(name)
	case unix.EBUSY:
		return inUse(name)
	default:
		return err
	}
}

// watched reports whether a client has the image open for writing. A client that died counts until its watch runs out,
// which takes about 30 s.
func (s *session) watched(name string) (bool, error) {
	img, err := librbd.OpenImageReadOnly(s.ioctx, name, librbd.NoSnapshot)
	if err != nil {
		return false, err
	}
	watchers, err := img.ListWatchers()
	return len(watchers) > 0, errors.Join(err, img.Close())
}

// dropSnapshot removes the snapshot if there is one. A snapshot that clones of format 1 protect stays.
func (s *session) dropSnapshot(name string) error {
	img, err := librbd.OpenImage(s.ioctx, name, librbd.NoSnapshot)
	if err != nil {
		return err
	}
	err = removeSnapshot(img)
	if n := errno(err); n == unix.ENOENT || n == unix.EBUSY {
		err = nil
	}
	return errors.Join(err, img.Close())
}

// removeSnapshot removes the snapshot, protected or not; ENOENT when there is none.
func removeSnapshot(img *librbd.Image) error {
	exists, protected, err := snapshotState(img)
	if err != nil {
		return err
	}
	if !exists {
		return librbd.ErrNotFound
	}
	snap := img.GetSnapshot(rbd.SnapshotName)
	if protected {
		if err := snap.Unprotect(); err != nil {
			return err
		}
	}
	return snap.Remove()
}

// trash moves an image out of sight, marked as removed.
func (s *session) trash(name string) error {
	img, err := librbd.OpenImage(s.ioctx, name, librbd.NoSnapshot)
	if err != nil {
		return err
	}
	err = img.SetMetadata(removedKey, "true")
	if err = errors.Join(err, img.Close()); err != nil {
		return err
	}
	return librbd.GetImage(s.ioctx, name).Trash(0)
}

// sweepTrash deletes removed images whose clones are gone. What fails is left to the next sweep.
func (s *session) sweepTrash(p *Pool) {
	trash, err := librbd.GetTrashList(s.ioctx)
	if err != nil {
		return
	}
	for _, t := range trash[:min(len(trash), mostSwept)] {
		if removed, err := sweep(s.ioctx, t.Id); err != nil {
			p.config.Log.Debug("a removed image stays in the trash", "image", t.Name, "error", err)
		} else if removed {
			p.config.Log.Info("a removed image left the trash", "image", t.Name)
		}
	}
}

func sweep(ioctx *rados.IOContext, id string) (removed bool, err error) {
	img, err := librbd.OpenImageById(ioctx, id, librbd.NoSnapshot)
	if err != nil {
		return false, err
	}
	mark, err := img.GetMetadata(removedKey)
	if err == nil && mark != "" {
		err = ignoreMissing(removeSnapshot(img)) // one that clones of format 1 had protected
	}
	err = errors.Join(err, img.Close())
	if err != nil || mark == "" {
		return false, ignoreMissing(err)
	}
	return true, librbd.TrashRemove(ioctx, id, true)
}
