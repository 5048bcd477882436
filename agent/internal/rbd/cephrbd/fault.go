//go:build cgo

package cephrbd

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// errno returns the error number of an error of go-ceph, 0 when it has none.
func errno(err error) unix.Errno {
	var coded interface{ ErrorCode() int }
	if !errors.As(err, &coded) {
		return 0
	}
	return unix.Errno(max(coded.ErrorCode(), -coded.ErrorCode()))
}

// classify gives an error of the library its class. What a missing or existing thing means is for the caller to say first.
func classify(operation string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := fault.As(err); ok {
		return err
	}
	cause := fmt.Errorf("%s: %w", operation, err)
	switch errno(err) {
	case unix.ENOSPC, unix.EDQUOT:
		return fault.Wrap(cause, fault.Exhausted, "NO_SPACE", "the store is full")
	case unix.EPERM, unix.EACCES:
		return fault.Wrap(cause, fault.Denied, "NO_ACCESS", "the Ceph cluster refuses the agent's key")
	case unix.EBUSY, unix.ENOTEMPTY, unix.EROFS:
		return fault.Wrap(cause, fault.Precondition, "IN_USE", "the image is in use by another client")
	case unix.ETIMEDOUT, unix.ENOTCONN, unix.ESHUTDOWN, unix.ECONNRESET, unix.ECONNREFUSED, unix.ECONNABORTED,
		unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EIO, unix.EAGAIN, unix.EINTR, unix.ECANCELED:
		return fault.Wrap(cause, fault.Unavailable, "STORE_UNREACHABLE", "the Ceph cluster does not answer")
	case unix.ENOENT:
		return fault.Wrap(cause, fault.NotFound, "IMAGE_NOT_FOUND", "the image does not exist in the store")
	case unix.EEXIST:
		return fault.Wrap(cause, fault.Exists, "IMAGE_EXISTS", "the image exists already in the store")
	default:
		return cause
	}
}

// broken reports whether an error means that the connection will never work again: the cluster has shut this client out.
func broken(err error) bool { return errno(err) == unix.ESHUTDOWN }

func notFound(name string) error {
	return fault.New(fault.NotFound, "IMAGE_NOT_FOUND", "image %s does not exist in the store", name)
}

func exists(name string) error {
	return fault.New(fault.Exists, "IMAGE_EXISTS", "image %s exists already in the store", name)
}

func snapshotMissing(name string) error {
	return fault.New(fault.NotFound, "SNAPSHOT_NOT_FOUND", "image %s has no snapshot", name)
}

func inUse(name string) error {
	return fault.New(fault.Precondition, "IN_USE", "image %s is in use by another client", name)
}

func poolMissing(pool string) error {
	return fault.New(fault.Precondition, "POOL_MISSING", "the Ceph cluster has no pool %s", pool)
}

func closed(what string) error {
	return fault.New(fault.Precondition, "CLOSED", "the %s has been closed", what)
}

func outOfRange(off, length, size int64) error {
	return fault.New(fault.Invalid, "OUT_OF_RANGE", "bytes %d to %d are outside of the image of %d bytes", off, off+length, size)
}
