package filerbd

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// sweep deletes images without a name that nobody uses. Errors are left to the next sweep: what remains takes space but is
// in nobody's way. It does nothing while names are being changed, here or in another process, because it compares two
// directory listings that must be of the same moment.
func (p *Pool) sweep() {
	unlock, err := p.lockNames(unix.LOCK_EX | unix.LOCK_NB)
	if err != nil {
		return
	}
	defer unlock()
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return
	}
	named := map[string]bool{}
	for _, e := range entries {
		if target, err := os.Readlink(filepath.Join(p.dir, e.Name())); err == nil {
			named[filepath.Base(target)] = true
		}
	}
	dirs, err := os.ReadDir(filepath.Join(p.dir, imagesDir))
	if err != nil {
		return
	}
	for _, d := range dirs {
		if !named[d.Name()] {
			p.discard(d.Name())
		}
	}
}

// discard deletes the files of an image unless it has children or is open for writing.
func (p *Pool) discard(id string) {
	if n, err := p.children(id); err != nil || n > 0 {
		return
	}
	release, err := lockIdle(p.path(id, "data"))
	if err != nil && !os.IsNotExist(err) {
		return
	}
	defer release()
	_ = os.RemoveAll(filepath.Join(p.dir, imagesDir, id))
}
