package qemu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// errShort is the error of images that refer to data behind their end.
var errShort = errors.New("the image ends before its data does")

const (
	// boundless is the size of an export that goes on behind the end of its data.
	boundless = 1 << 60
	// vmdkHead is as far as the descriptor of a VMDK begins. qemu-img reads up to 1 MiB from there, more than there may be.
	vmdkHead = 128 << 10
	// vmdkCompressed is a flag of its header.
	vmdkCompressed = 1 << 16
)

// ending is how the end of an image is told to qemu-img.
//
// qemu-img takes what lies behind the end of a file for zeroes and says nothing, so that half of a VDI or a monolithicSparse VMDK
// becomes a disk with half of its data (seen with 7.2; it notices it in the other formats). For these two the export has no end,
// and a read that goes beyond that of the data is an error.
type ending struct {
	io.ReaderAt
	size int64 // of the data
	head int64 // reads that begin before may go beyond
}

// open returns what qemu-img reads and the size that it sees.
func open(format string, src io.ReaderAt, size int64) (io.ReaderAt, int64, error) {
	switch format {
	case "vdi":
		return ending{ReaderAt: src, size: size}, boundless, nil
	case "vmdk":
		var header [sector]byte
		if n, err := src.ReadAt(header[:], 0); n < len(header) {
			if err == nil || errors.Is(err, io.EOF) {
				err = errShort
			}
			return nil, 0, err
		}
		if binary.LittleEndian.Uint32(header[8:])&vmdkCompressed == 0 {
			return ending{ReaderAt: src, size: size, head: vmdkHead}, boundless, nil
		}
	}
	return src, size, nil
}

// ReadAt implements io.ReaderAt.
func (e ending) ReadAt(p []byte, off int64) (int, error) {
	have := min(int64(len(p)), e.size-off)
	if have <= 0 || have < int64(len(p)) && off >= e.head {
		return 0, fmt.Errorf("%w: %d bytes at %d of %d", errShort, len(p), off, e.size)
	}
	n, err := e.ReaderAt.ReadAt(p[:have], off)
	if int64(n) < have {
		return n, err
	}
	clear(p[have:])
	return len(p), nil
}
