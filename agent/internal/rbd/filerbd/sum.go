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

// Sum implements rbd.Snapshot. A file has nobody else to do the work: it reads the chunk.
func (s *fileSnapshot) Sum(ctx context.Context, i int) (sum uint64, held bool, err error) {
	off, n := int64(i)*manifest.ChunkSize, manifest.ChunkLen(s.size, i)
	if i < 0 || n <= 0 {
		return 0, false, outOfRange(off, 1, s.size)
	}
	if err := ctx.Err(); err != nil {
		return 0, false, err
	}
	switch data, err := s.seek(off, unix.SEEK_DATA); {
	case errors.Is(err, unix.ENXIO): // nothing from here on
		return 0, false, nil
	case err != nil:
		return 0, false, s.p.fault(err)
	case data >= off+int64(n):
		return 0, false, nil
	}
	buf, _ := sumBuffers.Get().(*[manifest.ChunkSize]byte)
	defer sumBuffers.Put(buf)
	b := buf[:n]
	if err := s.readAt(ctx, b, off, s.size); err != nil {
		return 0, false, err
	}
	return xxhash.Sum64(b), true, nil
}
