package osinfo

import "strings"

// Limits of a walk.
const (
	maxSteps   = 64 // names looked up on the way to one file, also those of symbolic links
	maxLinks   = 8  // symbolic links on the way
	maxTarget  = 4095
	maxRelease = 64 << 10 // bytes of os-release
	maxDir     = 4 << 20  // bytes of a directory
)

// kind is what an inode is.
type kind int

const (
	other kind = iota
	directory
	regular
	symlink
)

// kindOf reads it from a mode.
func kindOf(mode uint16) kind {
	switch mode & 0xf000 {
	case 0x4000:
		return directory
	case 0x8000:
		return regular
	case 0xa000:
		return symlink
	}
	return other
}

// file is an inode of a file system.
type file struct {
	kind kind
	size int64
	ino  uint64
	raw  []byte // the inode as it is on the disk
}

// fileSystem reads one file system.
type fileSystem interface {
	root() uint64                                          // inode of the root directory
	inode(ino uint64) (*file, error)                       // reads an inode that something refers to
	lookup(dir *file, name string) (ino uint64, err error) // errNotFound when it is not there
	data(f *file) ([]byte, error)                          // content of a file or symbolic link whose size is known to be small
}

// walk finds a regular file. Symbolic links lead to places inside the root whatever they hold, as for a process that has it as
// its root.
func walk(fs fileSystem, path string) (*file, error) {
	dirs, err := rooted(fs)
	if err != nil {
		return nil, err
	}
	todo, links := strings.Split(path, "/"), 0
	for range maxSteps {
		name := todo[0]
		todo = todo[1:]
		f := dirs[len(dirs)-1]
		switch name {
		case "", ".":
		case "..":
			dirs = dirs[:max(1, len(dirs)-1)]
		default:
			if f, err = child(fs, f, name); err != nil {
				return nil, err
			}
		}
		switch {
		case f.kind == symlink:
			if links++; links > maxLinks {
				return nil, unsure("too many symbolic links")
			}
			target, err := follow(fs, f)
			if err != nil {
				return nil, err
			}
			if target[0] == "" {
				dirs = dirs[:1]
			}
			todo = append(target, todo...)
		case len(todo) == 0 && f.kind == regular:
			return f, nil
		case len(todo) == 0 || f.kind != directory:
			return nil, errNotFound
		case name != "" && name != "." && name != "..":
			dirs = append(dirs, f)
		}
	}
	return nil, unsure("too long a path")
}

// rooted returns the way to the root directory.
func rooted(fs fileSystem) ([]*file, error) {
	root, err := fs.inode(fs.root())
	if err != nil {
		return nil, err
	}
	if root.kind != directory {
		return nil, unsure("the root is no directory")
	}
	return []*file{root}, nil
}

func child(fs fileSystem, dir *file, name string) (*file, error) {
	ino, err := fs.lookup(dir, name)
	if err != nil {
		return nil, err
	}
	return fs.inode(ino)
}

// follow returns the parts of a symbolic link's target; the first one is empty when it begins at the root.
func follow(fs fileSystem, f *file) ([]string, error) {
	if f.size < 1 || f.size > maxTarget {
		return nil, unsure("a symbolic link of an impossible length")
	}
	target, err := fs.data(f)
	if err != nil {
		return nil, err
	}
	if strings.Count(string(target), "/") > maxSteps {
		return nil, unsure("too long a path")
	}
	return strings.Split(string(target), "/"), nil
}

// content returns what is in os-release.
func content(fs fileSystem, f *file) ([]byte, error) {
	if f.size > maxRelease {
		return nil, unsure("os-release is too long")
	}
	if f.size == 0 {
		return nil, errNotFound
	}
	return fs.data(f)
}
