//go:build cgo

package cephrbd

import (
	"encoding/binary"
	"errors"
	"fmt"

	librbd "github.com/ceph/go-ceph/rbd"
	"golang.org/x/sys/unix"
)

// What a name stands for is written twice: in the object rbd_id.NAME, by which librbd opens, and in the pool's directory,
// by which it lists. librbd renames in three steps (write the new rbd_id object, change the directory, delete the old
// rbd_id object), so a process that is killed in between leaves an rbd_id object that the directory knows nothing of: a
// second name for one image. Opening that for writing, or removing it, would destroy a published image. The directory is
// therefore the truth here: its change is one atomic operation, and a name that it does not have does not exist.

// entry is what the two places say about a name.
type entry struct {
	id     string // from the rbd_id object, "" when there is none
	listed string // from the directory, "" when there is none
}

// exists says whether there is an image of that name, though perhaps one whose creation or removal was interrupted.
func (e entry) exists() bool { return e.listed != "" }

// resolve looks a name up.
func (s *session) resolve(name string) (entry, error) {
	var e entry
	var err error
	if e.id, err = s.readID(name); err != nil {
		return e, err
	}
	e.listed, err = s.readDirectory("name_" + name)
	return e, err
}

// mustExist returns NotFound unless the directory has the name.
func (s *session) mustExist(name string) error {
	e, err := s.resolve(name)
	if err != nil {
		return err
	}
	if !e.exists() {
		return notFound(name)
	}
	return nil
}

// makeFree prepares a name for use: Exists when an image has it; what interrupted work left under it is deleted.
// The caller holds the lock of the name.
func (s *session) makeFree(name string) error {
	e, err := s.resolve(name)
	if err != nil {
		return err
	}
	if e.exists() {
		return s.clearWreck(name)
	}
	if e.id == "" {
		return nil
	}
	// The name of an image that is called otherwise, or of one that is gone but for this object. If the image itself were
	// still there without any name, deleting this would leak its space but not a byte that somebody can reach.
	return ignoreMissing(s.ioctx.Delete(idObject(name)))
}

// clearWreck deletes an image that is listed but cannot be opened because its creation or removal was interrupted, and
// returns Exists for any other.
func (s *session) clearWreck(name string) error {
	img, err := librbd.OpenImageReadOnly(s.ioctx, name, librbd.NoSnapshot)
	if err == nil {
		return errors.Join(exists(name), img.Close())
	}
	if errno(err) != unix.ENOENT {
		return err
	}
	return ignoreMissing(librbd.RemoveImage(s.ioctx, name))
}

func idObject(name string) string { return "rbd_id." + name }

func (s *session) readID(name string) (string, error) {
	buf := make([]byte, 4096)
	n, err := s.ioctx.Read(idObject(name), buf, 0)
	if err != nil {
		return "", ignoreMissing(err)
	}
	return decodeString(buf[:n])
}

func (s *session) readDirectory(key string) (string, error) {
	values, err := s.ioctx.GetOmapValues(directory, "", key, 1)
	if err != nil {
		return "", ignoreMissing(err)
	}
	value, ok := values[key] // the first key with this prefix may be a longer one
	if !ok {
		return "", nil
	}
	return decodeString(value)
}

// decodeString reads Ceph's encoding of a string: length and bytes.
func decodeString(b []byte) (string, error) {
	if len(b) < 4 {
		return "", fmt.Errorf("a string of %d bytes in the pool's directory is too short", len(b))
	}
	n := binary.LittleEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) {
		return "", fmt.Errorf("a string of %d bytes in the pool's directory is cut off", n)
	}
	return string(b[4 : 4+n]), nil
}

// ignoreMissing returns err unless it says that something does not exist.
func ignoreMissing(err error) error {
	if errno(err) == unix.ENOENT {
		return nil
	}
	return err
}
