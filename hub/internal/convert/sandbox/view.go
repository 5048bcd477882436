package sandbox

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// system is what programs are made of. What a machine does not have is left out.
func system() []string {
	return []string{"/usr", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/etc/ld.so.cache"}
}

// needed returns the paths that a program needs: the system's and its own when that is elsewhere.
func needed(program string) []string {
	paths := system()
	for _, p := range paths {
		if strings.HasPrefix(program, p+"/") {
			return paths
		}
	}
	return append(paths, program)
}

// place is a directory that is always there and that nothing is taken from: the new root is made on top of it.
const place = "/proc"

// changeRoot makes a root directory that has nothing but what the program needs, all of it read-only, and enters it. Only this
// mount namespace sees it.
func changeRoot(program string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("sandbox", place, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=64k,nr_inodes=64,mode=0755"); err != nil {
		return err
	}
	for _, path := range needed(program) {
		if err := show(path); err != nil {
			return err
		}
	}
	if err := unix.Chdir(place); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return err
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil { // the old root, which is on top now
		return err
	}
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	return unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &attr)
}

// show makes a path of the old root visible in the new one.
func show(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	at := filepath.Join(place, path)
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil { //nolint:gosec // the program of another user reads it
		return err
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		to, err := os.Readlink(path)
		if err != nil {
			return err
		}
		return os.Symlink(to, at)
	case info.IsDir():
		err = os.Mkdir(at, 0o755) //nolint:gosec // the program of another user reads it
	default:
		err = os.WriteFile(at, nil, 0o644) //nolint:gosec // the program of another user reads it
	}
	if err != nil {
		return err
	}
	return unix.Mount(path, at, "", unix.MS_BIND|unix.MS_REC, "")
}
