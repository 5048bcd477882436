package filerbd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// fault gives an error of the file system its class. A missing file is a missing pool when the directory itself is gone;
// callers that know better check for fs.ErrNotExist before.
func (p *Pool) fault(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if _, ok := fault.As(err); ok {
		return err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, e := os.Stat(p.dir); errors.Is(e, fs.ErrNotExist) {
			return fault.Wrap(err, fault.Precondition, "POOL_MISSING", "the directory of the file store does not exist")
		}
		return fault.Wrap(err, fault.NotFound, "IMAGE_NOT_FOUND", "the image does not exist in the store")
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fault.Wrap(err, fault.Exhausted, "NO_SPACE", "the store is full")
	case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.EROFS):
		return fault.Wrap(err, fault.Denied, "NO_ACCESS", "the agent may not use the directory of the file store")
	case errors.Is(err, unix.EIO), errors.Is(err, unix.ESTALE), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ETIMEDOUT):
		return fault.Wrap(err, fault.Unavailable, "STORE_UNREACHABLE", "the disk of the file store does not answer")
	case errors.Is(err, fs.ErrClosed):
		return closed()
	}
	return fmt.Errorf("file store: %w", err)
}

func notFound(name string) error {
	return fault.New(fault.NotFound, "IMAGE_NOT_FOUND", "image %s does not exist in the store", name)
}

func exists(name string) error {
	return fault.New(fault.Exists, "IMAGE_EXISTS", "image %s exists already in the store", name)
}

func inUse(name, by string) error {
	return fault.New(fault.Precondition, "IN_USE", "image %s is in use by %s", name, by)
}

func snapshotMissing(name string) error {
	return fault.New(fault.NotFound, "SNAPSHOT_NOT_FOUND", "image %s has no snapshot", name)
}

func closed() error {
	return fault.New(fault.Precondition, "CLOSED", "the image has been closed")
}

func outOfRange(off, length, size int64) error {
	return fault.New(fault.Invalid, "OUT_OF_RANGE", "bytes %d to %d are outside of the image of %d bytes", off, off+length, size)
}
