//go:build cgo

package cephrbd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	librbd "github.com/ceph/go-ceph/rbd"
	"golang.org/x/sys/unix"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
)

// Children implements rbd.Names: clones in all pools, those in the trash included. When clones are in pools that the key
// may not read, those of format 2 are counted exactly, and if there are none, one is assumed.
func (p *Pool) Children(ctx context.Context, name string) (int, error) {
	if err := checkName("name", name); err != nil {
		return 0, err
	}
	return do(ctx, p, "children", p.limit(), func(s *session) (int, error) {
		if err := s.mustExist(name); err != nil {
			return 0, err
		}
		img, err := librbd.OpenImageReadOnly(s.ioctx, name, rbd.SnapshotName)
		if errno(err) == unix.ENOENT {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		n, err := s.countChildren(img)
		return n, errors.Join(err, img.Close())
	}, nil)
}

func (s *session) countChildren(img *librbd.Image) (int, error) {
	children, err := img.ListChildrenAttributes()
	if errno(err) != unix.EPERM && errno(err) != unix.EACCES {
		return len(children), err
	}
	// The library knows of clones but may not look up their names: keys are often confined to the pool of images. The
	// number is in the image's own header.
	n, err := s.readChildren(img)
	return max(n, 1), err
}

// readChildren returns the number of clones of format 2, from the header object: under the key snap_children_SNAPID there
// is a set of structures, which begins with their number.
func (s *session) readChildren(img *librbd.Image) (int, error) {
	id, err := img.GetId()
	if err != nil {
		return 0, err
	}
	snap, err := img.GetSnapID(rbd.SnapshotName)
	if err != nil {
		return 0, err
	}
	key := fmt.Sprintf("snap_children_%016x", snap)
	values, err := s.ioctx.GetOmapValues("rbd_header."+id, "", key, 1)
	if err != nil || len(values[key]) < 4 {
		return 0, err
	}
	return int(binary.LittleEndian.Uint32(values[key])), nil
}
