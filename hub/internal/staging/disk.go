package staging

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// disk changes the files of the area. Tests put one in its place that fails.
type disk interface {
	// Write makes a file of the parts appear under path at once, or not at all.
	Write(path string, parts ...[]byte) error
	// Sync makes the file or directory durable.
	Sync(path string) error
	// Remove removes a file.
	Remove(path string) error
}

type osDisk struct{}

// Write writes path.tmp and renames it.
func (osDisk) Write(path string, parts ...[]byte) error {
	return writeFile(path, false, func(w io.Writer) error {
		for _, p := range parts {
			if _, err := w.Write(p); err != nil {
				return err
			}
		}
		return nil
	})
}

// Sync calls fsync.
func (osDisk) Sync(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Remove removes a file.
func (osDisk) Remove(path string) error { return os.Remove(path) }

// writeFile makes a file appear under path at once; with durable its bytes reach the disk before its name does.
func writeFile(path string, durable bool, write func(io.Writer) error) error {
	temp := path + tempSuffix
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil && durable {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		_ = os.Remove(temp)
	}
	return err
}

// lockDir takes the lock of a directory until the result is closed. The lock goes with the process.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, diskFault(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fault.Wrap(err, fault.Precondition, "STAGING_IN_USE", "the staging area is used by another process")
	}
	return f, nil
}

// diskFull reports whether the disk or a quota has no space.
func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func diskFault(err error) error {
	return fault.Wrap(err, fault.Unavailable, ReasonDisk, "the disk of the staging area reports an error")
}
