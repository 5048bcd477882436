// Package filerbd keeps block images as sparse files in a directory, for machines without Ceph. It needs neither root nor
// cgo.
//
// Layout of the directory, which must exist (POOL_MISSING otherwise):
//
//	.pool.json              id of this pool, made at first use; takes the place of the cluster's fsid
//	.lock                   locked shared by whoever changes names, exclusively by the sweep
//	.images/ID/data         the bytes, a sparse file; its path never changes, whatever the image is called
//	.images/ID/state.json   metadata and the snapshot's state
//	.images/ID/children/    one entry, of any kind, per clone of the snapshot
//	NAME                    symbolic link to .images/ID: this is what makes an image exist
//
// A name is one symbolic link, so Create, Rename and the visible part of Remove are single atomic steps, and bytes and
// metadata can never be separated. Directories of images that have no name (left by a crash, or kept for clones) are
// swept when the pool is opened and after each Remove, unless they have children.
//
// The snapshot is the file itself: while it exists, the image's bytes are frozen and writing fails with Precondition.
//
// A clone is whatever reads NAME/data without changing it, such as a qcow2 overlay. Who makes one first creates an entry
// in NAME/children/ and removes it when the clone is gone; the backing file must be named by its resolved path
// (.images/ID/data), which stays valid when the image is renamed or removed.
package filerbd

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
)

const (
	poolFile  = ".pool.json"
	lockFile  = ".lock"
	imagesDir = ".images"
)

// Pool is a directory of images. It implements rbd.Pool.
type Pool struct {
	dir string

	mu    sync.Mutex
	fsid  string           // "" until the pool file has been read or made
	nodes map[string]*node // open images by id
}

// node is what all handles of one open image share.
type node struct {
	refs int // guarded by Pool.mu

	mu     sync.RWMutex // held shared while writing, exclusively while the size or the snapshot changes
	size   int64
	frozen bool // there is a snapshot
}

// Open returns the pool in dir. It fails only when dir is not an absolute path: a directory that is missing or cannot be
// used is reported by the methods, so that it may appear later.
func Open(dir string) (rbd.Pool, error) {
	if !filepath.IsAbs(dir) || filepath.Clean(dir) == "/" {
		return nil, fault.BadField("dir", "the directory of a file store must be an absolute path other than /")
	}
	p := &Pool{dir: filepath.Clean(dir), nodes: map[string]*node{}}
	if err := p.prepare(); err == nil {
		p.sweep()
	}
	return p, nil
}

// Driver implements rbd.Pool.
func (p *Pool) Driver() string { return "file" }

// Close implements rbd.Pool. There is nothing to release.
func (p *Pool) Close() error { return nil }

// Info implements rbd.Pool. Sizes are those of the file system.
func (p *Pool) Info(ctx context.Context) (rbd.Info, error) {
	if err := p.ready(ctx); err != nil {
		return rbd.Info{}, err
	}
	if _, err := os.Stat(filepath.Join(p.dir, poolFile)); err != nil {
		return rbd.Info{}, p.fault(err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(p.dir, &st); err != nil {
		return rbd.Info{}, p.fault(err)
	}
	return rbd.Info{
		FSID: p.fsid, Pool: filepath.Base(p.dir),
		TotalBytes: int64(st.Blocks) * st.Bsize, FreeBytes: int64(st.Bavail) * st.Bsize,
	}, nil
}

// ready returns nil once the pool has its id. Every method that starts from a name calls it first.
func (p *Pool) ready(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return p.prepare()
}

func (p *Pool) prepare() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fsid != "" {
		return nil
	}
	fsid, err := p.loadID()
	if errors.Is(err, fs.ErrNotExist) {
		err = p.makeID()
		if err == nil || errors.Is(err, fs.ErrExist) { // another process may have been faster
			fsid, err = p.loadID()
		}
	}
	if err != nil {
		return p.fault(err)
	}
	if err := os.Mkdir(filepath.Join(p.dir, imagesDir), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return p.fault(err)
	}
	p.fsid = fsid
	return nil
}

type poolRecord struct {
	FSID string `json:"fsid"`
}

func (p *Pool) loadID() (string, error) {
	b, err := os.ReadFile(filepath.Join(p.dir, poolFile))
	if err != nil {
		return "", err
	}
	var r poolRecord
	if err := json.Unmarshal(b, &r); err != nil {
		return "", err
	}
	id, err := image.ParseID("fsid", r.FSID)
	return string(id), err
}

// makeID writes the pool file in full before it gets its name, and never replaces one.
func (p *Pool) makeID() error {
	b, err := json.Marshal(poolRecord{FSID: string(image.NewID())})
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(p.dir, poolFile+".*")
	if err != nil {
		return err
	}
	_, err = temp.Write(b)
	err = errors.Join(err, temp.Sync(), temp.Close())
	if err == nil {
		err = os.Link(temp.Name(), filepath.Join(p.dir, poolFile))
	}
	if err = errors.Join(err, os.Remove(temp.Name())); err != nil {
		return err
	}
	return syncDir(p.dir)
}
