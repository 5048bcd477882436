package filerbd

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
)

// Create implements rbd.Images.
func (p *Pool) Create(ctx context.Context, name string, size int64) (rbd.Image, error) {
	if err := checkName("name", name); err != nil {
		return nil, err
	}
	if size < 1 {
		return nil, fault.BadField("size", "an image has at least 1 byte")
	}
	if err := p.ready(ctx); err != nil {
		return nil, err
	}
	if _, err := os.Lstat(filepath.Join(p.dir, name)); err == nil {
		return nil, exists(name)
	}
	unlock, err := p.lockNames(unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	defer unlock()
	id := string(image.NewID())
	// The link comes last: it is what makes the image exist. A crash before leaves a directory without a name, which the
	// next sweep deletes.
	if err := p.makeFiles(id, size); err != nil {
		_ = os.RemoveAll(filepath.Join(p.dir, imagesDir, id))
		return nil, p.fault(err)
	}
	img, err := p.openImage(name, id)
	if err != nil {
		return nil, err
	}
	if err := os.Symlink(filepath.Join(imagesDir, id), filepath.Join(p.dir, name)); err != nil {
		_ = img.Close()
		_ = os.RemoveAll(filepath.Join(p.dir, imagesDir, id))
		if errors.Is(err, fs.ErrExist) {
			return nil, exists(name)
		}
		return nil, p.fault(err)
	}
	if err := syncDir(p.dir); err != nil {
		_ = img.Close()
		return nil, p.fault(err)
	}
	return img, nil
}

func (p *Pool) makeFiles(id string, size int64) error {
	path := filepath.Join(p.dir, imagesDir, id)
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(path, "children"), 0o755); err != nil {
		return err
	}
	//nolint:gosec // G302: virtual machines read it under users of their own
	data, err := os.OpenFile(filepath.Join(path, "data"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	if err := errors.Join(data.Truncate(size), data.Close()); err != nil {
		return err
	}
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	if err := errors.Join(storeState(dir, state{}), dir.Close()); err != nil {
		return err
	}
	return syncDir(filepath.Join(p.dir, imagesDir))
}

// Open implements rbd.Images.
func (p *Pool) Open(ctx context.Context, name string) (rbd.Image, error) {
	id, err := p.resolve(ctx, name)
	if err != nil {
		return nil, err
	}
	img, err := p.openImage(name, id)
	if err != nil {
		return nil, err
	}
	return img, nil
}

// openImage opens the data file for writing and joins the image's node.
func (p *Pool) openImage(name, id string) (*fileImage, error) {
	f, err := os.OpenFile(p.path(id, "data"), os.O_RDWR, 0)
	if err != nil {
		return nil, p.fault(err)
	}
	if err := flock(f, unix.LOCK_SH); err != nil { // Remove must not delete under our hands
		_ = f.Close()
		return nil, p.fault(err)
	}
	st, err := p.loadState(id)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, p.fault(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.nodes[id]
	if n == nil {
		n = &node{size: info.Size(), frozen: st.Snapshot}
		p.nodes[id] = n
	}
	n.refs++
	return &fileImage{reader: reader{p: p, f: f, id: id}, name: name, node: n}, nil
}

// OpenSnapshot implements rbd.Images.
func (p *Pool) OpenSnapshot(ctx context.Context, name string) (rbd.Snapshot, error) {
	id, err := p.resolve(ctx, name)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(p.path(id, "data"))
	if err != nil {
		return nil, p.fault(err)
	}
	st, err := p.loadState(id)
	if err == nil && !st.Snapshot {
		err = snapshotMissing(name)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, p.fault(err)
	}
	return &fileSnapshot{reader: reader{p: p, f: f, id: id}, size: info.Size()}, nil
}
