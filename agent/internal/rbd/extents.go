package rbd

import "github.com/atoll-dcn/atoll/pkg/manifest"

// Widener turns the data ranges that a driver finds into what Reader.Extents reports. Not safe for concurrent use.
type Widener struct {
	size       int64
	visit      func(off, length int64) error
	start, end int64 // the range collected so far, empty when equal; not clipped
}

// NewWidener returns a Widener for a reader of size bytes.
func NewWidener(size int64, visit func(off, length int64) error) *Widener {
	return &Widener{size: size, visit: visit}
}

// Add takes a range of at least one byte. Ranges come in ascending order. An error is one of visit and ends the walk.
func (w *Widener) Add(off, length int64) error {
	start := off - off%manifest.ChunkSize
	end := (off + length + manifest.ChunkSize - 1) / manifest.ChunkSize * manifest.ChunkSize
	if start > w.end {
		if err := w.Finish(); err != nil {
			return err
		}
	}
	if w.start == w.end {
		w.start = max(start, w.end)
	}
	w.end = max(w.end, end)
	return nil
}

// Finish reports the last range.
func (w *Widener) Finish() error {
	if w.start == w.end {
		return nil
	}
	off, length := w.start, min(w.end, w.size)-w.start
	w.start = w.end
	return w.visit(off, length)
}
