package osinfo

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Limits of what is read of one disk.
const (
	maxBytes = 8 << 20
	minBytes = 512 // that a read counts at least for
)

var (
	errNotFound = errors.New("not found")                              // certainly not there
	errUnsure   = errors.New("the disk cannot be read with certainty") // damaged, unknown, or too much
)

// unsure tells why nothing is certain.
func unsure(what string) error { return fmt.Errorf("%w: %s", errUnsure, what) }

// budget is what may still be read of a disk.
type budget struct {
	ctx  context.Context
	disk io.ReaderAt
	left int64 // bytes
}

// view is a part of a disk. Offsets are its own.
type view struct {
	*budget
	start int64 // on the disk
	size  int64
}

// part returns a part of the view, cut at its end.
func (v view) part(start, size int64) (view, error) {
	if start < 0 || size <= 0 || start >= v.size {
		return view{}, unsure("a partition lies outside the disk")
	}
	return view{budget: v.budget, start: v.start + start, size: min(size, v.size-start)}, nil
}

// read returns n bytes at off.
func (v view) read(off, n int64) ([]byte, error) {
	if off < 0 || n <= 0 || n > v.size || off > v.size-n {
		return nil, unsure("something lies outside its volume")
	}
	if v.budget.left -= max(n, minBytes); v.budget.left < 0 {
		return nil, unsure("too much to read")
	}
	if err := v.ctx.Err(); err != nil {
		return nil, err
	}
	b := make([]byte, n)
	if got, err := v.disk.ReadAt(b, v.start+off); int64(got) < n {
		return nil, errors.Join(unsure("a read failed"), err)
	}
	return b, nil
}

// has reports whether the view has n bytes at off, without reading them.
func (v view) has(off, n int64) bool { return off >= 0 && n <= v.size && off <= v.size-n }
