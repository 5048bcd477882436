package ctl

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
)

// hole is the smallest run of zeroes that is left out of a file.
const hole = 64 << 10

// sparseFile is a file under construction: written in order, zeroes left out, invisible under its name until published.
type sparseFile struct {
	f     *os.File
	name  string
	force bool
	at    int64
	zero  []byte
}

// createSparse starts a file. One that exists is refused unless force is set. The caller discards it in any case.
func createSparse(name string, force bool) (*sparseFile, error) {
	s := &sparseFile{name: name, force: force, zero: make([]byte, hole)}
	if err := s.refuse(); err != nil {
		return nil, err
	}
	hidden := filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+"."+string(image.NewID())+".part")
	f, err := os.OpenFile(hidden, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666) //nolint:gosec // the umask decides, as for any download
	if err != nil {
		return nil, unwritable(name, err)
	}
	s.f = f
	return s, nil
}

func (s *sparseFile) refuse() error {
	info, err := os.Lstat(s.name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return unwritable(s.name, err)
	case info.IsDir():
		return fault.New(fault.Invalid, "FILE_IS_DIRECTORY", "%s is a directory", s.name)
	case !s.force:
		return fault.New(fault.Exists, "FILE_EXISTS", "%s exists; use --force to replace it", s.name)
	case !info.Mode().IsRegular():
		return fault.New(fault.Invalid, "FILE_NOT_REGULAR", "%s is not a regular file", s.name)
	}
	return nil
}

// Write appends data.
func (s *sparseFile) Write(data []byte) (int, error) {
	for done := 0; done < len(data); {
		// Pieces end at multiples of the hole, whatever the sizes of the writes are.
		n := min(len(data)-done, hole-int(s.at%hole))
		piece := data[done : done+n]
		if !bytes.Equal(piece, s.zero[:n]) {
			if _, err := s.f.WriteAt(piece, s.at); err != nil {
				return done, err
			}
		}
		s.at += int64(n)
		done += n
	}
	return len(data), nil
}

// publish makes the file appear under its name. The data is on disk before the name is, so a name never stands for
// half an image, not even after a power failure.
func (s *sparseFile) publish() error {
	if err := s.f.Truncate(s.at); err != nil {
		return unwritable(s.name, err)
	}
	if err := s.f.Sync(); err != nil {
		return unwritable(s.name, err)
	}
	if err := s.f.Close(); err != nil {
		return unwritable(s.name, err)
	}
	if err := s.refuse(); err != nil {
		return err
	}
	if err := os.Rename(s.f.Name(), s.name); err != nil {
		return unwritable(s.name, err)
	}
	return nil
}

// discard closes and removes what has not been published; nothing happens otherwise.
func (s *sparseFile) discard() {
	_ = s.f.Close()
	_ = os.Remove(s.f.Name())
}

func unwritable(name string, err error) error {
	text := err.Error()
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		text = path.Err.Error()
	}
	return fault.New(fault.Invalid, "FILE_UNWRITABLE", "cannot write %s: %s", name, text)
}
