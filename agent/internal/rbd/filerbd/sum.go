package filerbd

import (
	"context"
	"errors"
	"sync"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sys/unix"

	"github.com/atoll-dcn/atoll/pkg/manifest"
)

var sumBuffers = sync.Pool{New: func() any { return new([manifest.ChunkSize]byte) }}

// Sum implements rbd.Snapshot.
func (s *fileSnapshot) Sum(ctx context.Context, i int) (sum uint64, held bool, err error) {
	return s.sum(ctx, i, s.size)
}

// Sum implements rbd.Image.
func (i *fileImage) Sum(ctx context.Context, n int) (sum uint64, held bool, err error) {
	return i.sum(ctx, n, i.Size())
}

// sum sums up chunk i of an image of size bytes. A file has nobody else to do the work: it reads the chunk.
func (r *reader) sum(ctx context.Context, i int, size int64) (sum uint64, held bool, err error) {
	off, n := int64(i)*manifest.ChunkSize, manifest.ChunkLen(size, i)
	if i < 0 || n <= 0 {
		return 0, false, outOfRange(off, 1, size)
	}
	if err := ctx.Err(); err != nil {
		return 0, false, err
	}
	switch data, err := r.seek(off, unix.SEEK_DATA); {
	case errors.Is(err, unix.ENXIO): // nothing from here on
		return 0, false, nil
	case err != nil:
		return 0, false, r.p.fault(err)
	case data >= off+int64(n):
		return 0, false, nil
	}
	buf, _ := sumBuffers.Get().(*[manifest.ChunkSize]byte)
	defer sumBuffers.Put(buf)
	b := buf[:n]
	if err := r.readAt(ctx, b, off, size); err != nil {
		return 0, false, err
	}
	return xxhash.Sum64(b), true, nil
}
