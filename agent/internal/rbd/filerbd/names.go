package filerbd

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// List implements rbd.Names.
func (p *Pool) List(ctx context.Context) ([]string, error) {
	if err := p.ready(ctx); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return nil, p.fault(err)
	}
	var names []string
	for _, e := range entries {
		if e.Type() == fs.ModeSymlink && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Rename implements rbd.Names. It is one rename of a symbolic link.
func (p *Pool) Rename(ctx context.Context, from, to string) error {
	if err := checkName("to", to); err != nil {
		return err
	}
	if _, err := p.resolve(ctx, from); err != nil {
		return err
	}
	unlock, err := p.lockNames(unix.LOCK_SH)
	if err != nil {
		return err
	}
	defer unlock()
	err = unix.Renameat2(unix.AT_FDCWD, filepath.Join(p.dir, from), unix.AT_FDCWD, filepath.Join(p.dir, to), unix.RENAME_NOREPLACE)
	switch {
	case errors.Is(err, fs.ErrExist):
		return exists(to)
	case errors.Is(err, fs.ErrNotExist):
		return notFound(from)
	case err != nil:
		return p.fault(err)
	}
	return p.fault(syncDir(p.dir))
}

// Remove implements rbd.Names. An image with children loses its name and nothing else.
func (p *Pool) Remove(ctx context.Context, name string) error {
	id, err := p.resolve(ctx, name)
	if err != nil {
		return err
	}
	if err := p.removeName(name, id); err != nil {
		return err
	}
	// From here on the image does not exist. What follows frees space, and is repeated by later sweeps if it fails.
	p.sweep()
	return nil
}

func (p *Pool) removeName(name, id string) error {
	unlock, err := p.lockNames(unix.LOCK_SH)
	if err != nil {
		return err
	}
	defer unlock()
	release, err := lockIdle(p.path(id, "data"))
	if errors.Is(err, unix.EWOULDBLOCK) {
		return inUse(name, "a writer")
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return p.fault(err)
	}
	defer release()
	if err := os.Remove(filepath.Join(p.dir, name)); err != nil {
		return p.fault(err)
	}
	return p.fault(syncDir(p.dir))
}

// Children implements rbd.Names: it counts the entries of the image's children directory.
func (p *Pool) Children(ctx context.Context, name string) (int, error) {
	id, err := p.resolve(ctx, name)
	if err != nil {
		return 0, err
	}
	st, err := p.loadState(id)
	if err != nil || !st.Snapshot {
		return 0, err
	}
	return p.children(id)
}

func (p *Pool) children(id string) (int, error) {
	entries, err := os.ReadDir(p.path(id, "children"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, p.fault(err)
	}
	return len(entries), nil
}

// resolve returns the id of the image with a name.
func (p *Pool) resolve(ctx context.Context, name string) (string, error) {
	if err := checkName("name", name); err != nil {
		return "", err
	}
	if err := p.ready(ctx); err != nil {
		return "", err
	}
	target, err := os.Readlink(filepath.Join(p.dir, name))
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.EINVAL): // EINVAL: not a symbolic link, so not ours
		if _, e := os.Stat(p.dir); e != nil {
			return "", p.fault(e)
		}
		return "", notFound(name)
	case err != nil:
		return "", p.fault(err)
	}
	return filepath.Base(target), nil
}

func checkName(field, name string) error {
	if name == "" || len(name) > 200 || name[0] == '.' || strings.ContainsAny(name, "/\x00") {
		return fault.BadField(field, "an image name has 1 to 200 characters, no slash, and does not start with a dot")
	}
	return nil
}

// path returns the path of a file of an image.
func (p *Pool) path(id, file string) string { return filepath.Join(p.dir, imagesDir, id, file) }
