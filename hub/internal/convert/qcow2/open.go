package qcow2

import (
	"github.com/atoll-dcn/atoll/hub/internal/convert"
)

// headSize is how much of the beginning is read for the header and its extensions: what the inspector of formats looks at, too.
const headSize = 64 << 10

// Image is an open qcow2 image. It holds no resources and is safe for concurrent use.
type Image struct {
	source convert.Source
	header header
}

// Open reads the header of an image and checks it. It blocks until the first 64 KiB of the source have come, or all of it.
//
// Errors are ReasonUnsafe or ReasonDamaged (Invalid), ReasonTooLarge (Exhausted) when the disk is larger than most bytes, or what
// the source failed with.
func Open(source convert.Source, most int64) (*Image, error) {
	i := &Image{source: source}
	head := make([]byte, headSize)
	n, err := i.readAt(head, 0)
	if err != nil {
		return nil, err
	}
	h, err := parse(head[:n], most)
	if err != nil {
		return nil, err
	}
	i.header = *h
	return i, nil
}

// Size returns the size of the disk in bytes.
func (i *Image) Size() int64 { return i.header.size }
