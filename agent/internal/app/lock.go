package app

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// lockFile takes a lock that ends with the process at the latest.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fault.New(fault.Precondition, "STATE_DIR_IN_USE", "state_dir: another agent is using this directory")
		}
		return nil, fmt.Errorf("lock: %w", err)
	}
	return f, nil
}
