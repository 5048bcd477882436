//go:build cgo && ceph_preview

package cephrbd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/ceph/go-ceph/rados"
	librbd "github.com/ceph/go-ceph/rbd"
	"golang.org/x/sys/unix"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// objects are the RADOS objects of an image or a snapshot, found at first use.
type objects struct {
	once   sync.Once
	ioctx  *rados.IOContext // its own: what snapshot is read is a property of the context
	prefix string
	err    error
}

// close is called once, with no users left.
func (o *objects) close() {
	if o.ioctx != nil {
		o.ioctx.Destroy()
	}
}

// summable are the features with which an object is what it seems to be.
const summable = DefaultFeatures | librbd.FeatureJournaling | librbd.FeatureDataPool | librbd.FeatureOperations

// Sum implements rbd.Summer: the OSD reads the object and returns twelve bytes.
func (r reader) Sum(ctx context.Context, i int) (uint64, bool, error) {
	if off := int64(i) * manifest.ChunkSize; i < 0 || off >= r.Size() {
		return 0, false, outOfRange(off, 1, r.Size())
	}
	type result struct {
		sum  uint64
		held bool
	}
	said, err := use(ctx, r.h, "checksum", r.h.p.limit(), func(img *librbd.Image) (said result, err error) {
		o := &r.h.objects
		o.once.Do(func() { o.err = o.find(r.h.session, img, r.h.snapshot) })
		if o.err != nil {
			return said, o.err
		}
		said.sum, said.held, err = o.sum(i)
		return said, err
	}, nil)
	return said.sum, said.held, err
}

// sum asks for the sum of a whole object, as long as it is.
func (o *objects) sum(i int) (sum uint64, held bool, err error) {
	reply := make([]byte, 4+8) // number of sums, sums; both little endian
	err = o.ioctx.Checksum(fmt.Sprintf("%s.%016x", o.prefix, i), rados.ChecksumTypeXXHash64, reply, nil)
	switch errno(err) {
	case 0:
	case unix.ENOENT:
		return 0, false, nil
	case unix.EOPNOTSUPP, unix.ENOSYS, unix.EINVAL:
		return 0, false, rbd.NoSums(err)
	}
	if err != nil {
		return 0, false, err
	}
	if n := binary.LittleEndian.Uint32(reply); n > 1 {
		return 0, false, rbd.NoSums(fmt.Errorf("%d sums instead of one", n))
	} else if n == 0 { // an empty object
		return emptySum, true, nil
	}
	return binary.LittleEndian.Uint64(reply[4:]), true, nil
}

// emptySum is the xxHash64 of no bytes.
const emptySum = 0xef46db3751d8e999

// find makes sure that chunks are objects, and opens their pool, at the snapshot if the handle is one.
func (o *objects) find(s *session, img *librbd.Image, snapshot bool) error {
	if err := chunksAreObjects(img); err != nil {
		return err
	}
	prefix, err := objectPrefix(s, img)
	if err != nil {
		return err
	}
	pool, err := img.GetDataPoolID()
	if err != nil {
		return err
	}
	name, err := s.conn.GetPoolByID(pool)
	if err != nil {
		return err
	}
	ioctx, err := s.conn.OpenIOContext(name)
	if err != nil {
		return err
	}
	if ioctx.GetPoolID() != pool { // renamed and replaced just now
		ioctx.Destroy()
		return rbd.NoSums(nil)
	}
	if snapshot {
		id, err := img.GetSnapID(rbd.SnapshotName)
		if err == nil {
			err = ioctx.SetReadSnap(rados.SnapID(id))
		}
		if err != nil {
			ioctx.Destroy()
			return err
		}
	}
	o.ioctx, o.prefix = ioctx, prefix
	return nil
}

// objectPrefix returns what the names of the objects begin with.
func objectPrefix(s *session, img *librbd.Image) (string, error) {
	stat, err := img.Stat()
	if err != nil {
		return "", err
	}
	id, err := img.GetId()
	if err != nil {
		return "", err
	}
	if prefix, ok := wholePrefix(stat.Block_name_prefix, id, s.poolID); ok {
		return prefix, nil
	}
	return "", rbd.NoSums(fmt.Errorf("the objects are called %s", stat.Block_name_prefix))
}

// wholePrefix completes what librbd says of the prefix. It has room for 23 characters, which the prefixes of images with a
// pool for their data exceed: those have the number of the image's own pool in front of the image's id.
func wholePrefix(said, id string, pool int64) (prefix string, ok bool) {
	for _, prefix := range []string{"rbd_data." + id, fmt.Sprintf("rbd_data.%d.%s", pool, id)} {
		if strings.HasPrefix(prefix, said) {
			return prefix, true
		}
	}
	return "", false
}

// chunksAreObjects fails with NO_SUMS unless each chunk is one object that holds its bytes as they are.
func chunksAreObjects(img *librbd.Image) error {
	features, err := img.GetFeatures()
	if err != nil {
		return err
	}
	unit, err := img.GetStripeUnit()
	if err != nil {
		return err
	}
	count, err := img.GetStripeCount()
	if err != nil {
		return err
	}
	switch _, err := img.GetParent(); {
	case err == nil:
		return rbd.NoSums(errors.New("the image is a clone"))
	case errno(err) != unix.ENOENT:
		return err
	case features&^summable != 0 || unit != manifest.ChunkSize || count != 1:
		return rbd.NoSums(fmt.Errorf("features %#x, %d stripes of %d bytes", features, count, unit))
	}
	return nil
}
