package qcow2

import (
	"bytes"
	"io"

	"github.com/klauspost/compress/flate"
)

// unpacker decompresses clusters. It belongs to one goroutine.
type unpacker interface {
	// unpack fills to, and nothing beyond it, from compressed data that may be followed by anything.
	unpack(to, from []byte) error
}

func newUnpacker(zstd bool) (unpacker, error) {
	if zstd {
		return newFrames()
	}
	return &deflate{reader: flate.NewReader(bytes.NewReader(nil))}, nil
}

// deflate unpacks raw deflate streams, which the specification calls zlib although they have no header. A stream need not end where the
// cluster is full.
type deflate struct {
	reader io.ReadCloser
	input  bytes.Reader
}

func (d *deflate) unpack(to, from []byte) error {
	d.input.Reset(from)
	if err := d.reader.(flate.Resetter).Reset(&d.input, nil); err != nil {
		return err
	}
	_, err := io.ReadFull(d.reader, to)
	return err
}
