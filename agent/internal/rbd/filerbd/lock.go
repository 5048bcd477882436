package filerbd

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lockNames locks the set of names, against other goroutines and other processes; the lock of a process that dies is
// released by the system. Shared holders change single names atomically and so need no protection from each other.
// Without LOCK_NB it may wait for a sweep, which is short.
func (p *Pool) lockNames(how int) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(p.dir, lockFile), os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		return nil, p.fault(err)
	}
	if err := flock(f, how); err != nil {
		_ = f.Close()
		return nil, p.fault(err)
	}
	return func() { _ = f.Close() }, nil
}

// lockIdle locks a data file exclusively, or fails with EWOULDBLOCK when it is open for writing. release is never nil.
func lockIdle(path string) (release func(), err error) {
	f, err := os.Open(path)
	if err != nil {
		return func() {}, err
	}
	if err := flock(f, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return func() {}, err
	}
	return func() { _ = f.Close() }, nil
}

func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); err != unix.EINTR {
			return err
		}
	}
}

// syncDir makes the entries of a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
