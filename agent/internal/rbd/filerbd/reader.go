package filerbd

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
)

// reader is the part that images and snapshots share.
type reader struct {
	p  *Pool
	f  *os.File
	id string
}

// readAt fills b; size is the length of the image. Calls to a local file are not interrupted, only not started.
func (r *reader) readAt(ctx context.Context, b []byte, off, size int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if off < 0 || off > size-int64(len(b)) {
		return outOfRange(off, int64(len(b)), size)
	}
	_, err := r.f.ReadAt(b, off)
	if errors.Is(err, io.EOF) { // only after a concurrent Resize
		return outOfRange(off, int64(len(b)), size)
	}
	return r.p.fault(err)
}

// extents reports the data ranges of a sparse file, widened to chunks. Where the file system cannot tell holes, it reports
// everything as data.
func (r *reader) extents(ctx context.Context, size int64, visit func(off, length int64) error) error {
	w := rbd.NewWidener(size, visit)
	for off := int64(0); off < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		data, err := r.seek(off, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) || data >= size { // no data after off
			break
		}
		if err != nil {
			return r.p.fault(err)
		}
		hole, err := r.seek(data, unix.SEEK_HOLE)
		if err != nil {
			return r.p.fault(err)
		}
		if err := w.Add(data, hole-data); err != nil {
			return err
		}
		off = hole
	}
	return w.Finish()
}

// seek moves the file's position, which nothing relies on: it may be called from several goroutines.
func (r *reader) seek(off int64, whence int) (int64, error) { return r.f.Seek(off, whence) }

func (r *reader) meta(ctx context.Context, key string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	st, err := r.p.loadState(r.id)
	return st.Meta[key], err
}
