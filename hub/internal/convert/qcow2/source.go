package qcow2

import (
	"fmt"
	"io"
)

// readAt fills p from an offset and returns how many bytes there are: fewer than asked only where the data ends.
func (i *Image) readAt(p []byte, off int64) (int, error) {
	n, err := i.source.ReadAt(p, off)
	switch {
	case n == len(p):
		return n, nil
	case n < 0 || n > len(p) || err == nil:
		err = io.ErrNoProgress
	case err == io.EOF: //nolint:errorlint // what wraps it is a failure of the source, not its end
		return n, nil
	}
	return 0, fmt.Errorf("reading the source: %w", err)
}

// readTable fills p with a table or a part of one, all of which must be there.
func (i *Image) readTable(p []byte, off int64, name string) error {
	n, err := i.readAt(p, off)
	if err != nil {
		return err
	}
	if n < len(p) {
		return damaged("the data ends within its %s", name)
	}
	return nil
}
