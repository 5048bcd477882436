package filerbd

import (
	"context"
	"errors"
	"os"
)

// fileSnapshot reads the frozen bytes of an image.
type fileSnapshot struct {
	reader
	size int64
}

// Size implements rbd.Snapshot.
func (s *fileSnapshot) Size() int64 { return s.size }

// ReadAt implements rbd.Snapshot.
func (s *fileSnapshot) ReadAt(ctx context.Context, b []byte, off int64) error {
	return s.readAt(ctx, b, off, s.size)
}

// Extents implements rbd.Snapshot.
func (s *fileSnapshot) Extents(ctx context.Context, visit func(off, length int64) error) error {
	return s.extents(ctx, s.size, visit)
}

// Meta implements rbd.Snapshot.
func (s *fileSnapshot) Meta(ctx context.Context, key string) (string, error) { return s.meta(ctx, key) }

// Close implements rbd.Snapshot.
func (s *fileSnapshot) Close() error {
	if err := s.f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return s.p.fault(err)
	}
	return nil
}
