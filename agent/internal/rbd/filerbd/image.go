package filerbd

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// fileImage is an image opened for writing.
type fileImage struct {
	reader
	name string
	node *node
}

// Size implements rbd.Image.
func (i *fileImage) Size() int64 {
	i.node.mu.RLock()
	defer i.node.mu.RUnlock()
	return i.node.size
}

// ReadAt implements rbd.Image.
func (i *fileImage) ReadAt(ctx context.Context, b []byte, off int64) error {
	return i.readAt(ctx, b, off, i.Size())
}

// Extents implements rbd.Image.
func (i *fileImage) Extents(ctx context.Context, visit func(off, length int64) error) error {
	return i.extents(ctx, i.Size(), visit)
}

// WriteAt implements rbd.Image.
func (i *fileImage) WriteAt(ctx context.Context, b []byte, off int64) error {
	return i.change(ctx, off, int64(len(b)), func() error {
		_, err := i.f.WriteAt(b, off)
		return err
	})
}

// Zero implements rbd.Image.
func (i *fileImage) Zero(ctx context.Context, off, length int64) error {
	return i.change(ctx, off, length, func() error {
		if length == 0 {
			return nil
		}
		conn, err := i.f.SyscallConn() // keeps the descriptor open during the call
		if err != nil {
			return err
		}
		if off+length == i.node.size {
			length += manifest.ChunkSize // so that the last block is freed too; the size stays
		}
		var punch error
		err = conn.Control(func(fd uintptr) {
			punch = unix.Fallocate(int(fd), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, length)
		})
		return errors.Join(err, punch)
	})
}

// change runs a write of a range while neither size nor snapshot can change.
func (i *fileImage) change(ctx context.Context, off, length int64, write func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	i.node.mu.RLock()
	defer i.node.mu.RUnlock()
	if i.node.frozen {
		return i.frozen()
	}
	if off < 0 || length < 0 || off > i.node.size-length {
		return outOfRange(off, length, i.node.size)
	}
	return i.p.fault(write())
}

func (i *fileImage) frozen() error {
	return fault.New(fault.Precondition, "FROZEN", "image %s has a snapshot and cannot be written", i.name)
}

// Resize implements rbd.Image.
func (i *fileImage) Resize(ctx context.Context, size int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if size < 1 {
		return fault.BadField("size", "an image has at least 1 byte")
	}
	i.node.mu.Lock()
	defer i.node.mu.Unlock()
	if i.node.frozen {
		return i.frozen()
	}
	if err := i.f.Truncate(size); err != nil {
		return i.p.fault(err)
	}
	i.node.size = size
	return nil
}

// Flush implements rbd.Image.
func (i *fileImage) Flush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return i.p.fault(i.f.Sync())
}

// Meta implements rbd.Image.
func (i *fileImage) Meta(ctx context.Context, key string) (string, error) { return i.meta(ctx, key) }

// SetMeta implements rbd.Image.
func (i *fileImage) SetMeta(ctx context.Context, key, value string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if key == "" {
		return fault.BadField("key", "a key of metadata has at least 1 character")
	}
	return i.p.changeState(i.id, func(s *state) error {
		if value == "" {
			delete(s.Meta, key)
			return nil
		}
		if s.Meta == nil {
			s.Meta = map[string]string{}
		}
		s.Meta[key] = value
		return nil
	})
}

// SnapshotState implements rbd.Image.
func (i *fileImage) SnapshotState(ctx context.Context) (exists, protected bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, false, err
	}
	st, err := i.p.loadState(i.id)
	return st.Snapshot, st.Protected, err
}

// CreateSnapshot implements rbd.Image.
func (i *fileImage) CreateSnapshot(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	i.node.mu.Lock()
	defer i.node.mu.Unlock()
	// The bytes are durable before the record says that they are frozen.
	if err := i.f.Sync(); err != nil {
		return i.p.fault(err)
	}
	err := i.p.changeState(i.id, func(s *state) error {
		if s.Snapshot {
			return fault.New(fault.Exists, "SNAPSHOT_EXISTS", "image %s has a snapshot already", i.name)
		}
		s.Snapshot, s.Protected = true, false
		return nil
	})
	if err == nil {
		i.node.frozen = true
	}
	return err
}

// RemoveSnapshot implements rbd.Image.
func (i *fileImage) RemoveSnapshot(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	i.node.mu.Lock()
	defer i.node.mu.Unlock()
	err := i.p.changeState(i.id, func(s *state) error {
		if !s.Snapshot {
			return snapshotMissing(i.name)
		}
		if n, err := i.p.children(i.id); err != nil {
			return err
		} else if n > 0 {
			return inUse(i.name, "a clone")
		}
		s.Snapshot, s.Protected = false, false
		return nil
	})
	if err == nil {
		i.node.frozen = false
	}
	return err
}

// ProtectSnapshot implements rbd.Image.
func (i *fileImage) ProtectSnapshot(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return i.p.changeState(i.id, func(s *state) error {
		if !s.Snapshot {
			return snapshotMissing(i.name)
		}
		s.Protected = true
		return nil
	})
}

// Close implements rbd.Image.
func (i *fileImage) Close() error {
	err := i.f.Close()
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	i.p.mu.Lock()
	defer i.p.mu.Unlock()
	if i.node.refs--; i.node.refs == 0 {
		delete(i.p.nodes, i.id)
	}
	return i.p.fault(err)
}
