package embedded

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// LockDir creates a directory that only this user can read, if need be, and locks it against other processes and other
// callers, until the result is closed or the process ends in whatever way. A locked directory yields Precondition
// DATA_DIR_IN_USE.
func LockDir(dir string) (io.Closer, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case err == nil:
		return f, nil
	case errors.Is(err, unix.EWOULDBLOCK):
		return nil, errors.Join(fault.New(fault.Precondition, "DATA_DIR_IN_USE", "another hub uses the same data directory"), f.Close())
	default:
		return nil, errors.Join(err, f.Close())
	}
}
