package qcow2

import (
	"encoding/binary"
	"math/bits"

	"github.com/atoll-dcn/atoll/hub/internal/convert"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

// What the specification says of the header.
const (
	magic        = "QFI\xfb"
	lengthV2     = 72
	lengthV3     = 104
	smallestBits = 9
	largestBits  = 21 // QEMU's limit

	featureDirty       = 1 << 0
	featureCorrupt     = 1 << 1
	featureDataFile    = 1 << 2
	featureCompression = 1 << 3
	featureExtended    = 1 << 4
	featuresKnown      = 1<<5 - 1

	extendedBits = 14       // clusters with extended L2 entries are at least that large
	mostL1       = 32 << 17 // entries: QEMU's limit of 32 MiB for the table
	farthest     = 1 << 56  // no offset is larger
)

// header is what the reader needs of the header. It is within bounds.
type header struct {
	version   uint32
	bits      uint  // of an offset within a cluster
	size      int64 // of the disk in bytes
	l1        int64 // offset of the L1 table
	l1Entries int64 // that the disk needs
	extended  bool  // L2 entries have bitmaps of subclusters
	zstd      bool  // compressed clusters are zstd rather than deflate
}

// cluster is the size of a cluster in bytes.
func (h *header) cluster() int64 { return 1 << h.bits }

// entrySize is the size of an L2 entry in bytes.
func (h *header) entrySize() int64 {
	if h.extended {
		return 16
	}
	return 8
}

// coverage is how many bytes of disk one L2 table describes.
func (h *header) coverage() int64 { return h.cluster() / h.entrySize() << h.bits }

// parse reads a header from the beginning of the data. Disks larger than most bytes are refused.
func parse(head []byte, most int64) (*header, error) {
	if len(head) < lengthV2 || string(head[:4]) != magic {
		return nil, damaged("it has no header")
	}
	be := binary.BigEndian
	h := &header{version: be.Uint32(head[4:]), bits: uint(be.Uint32(head[20:]))}
	switch {
	case h.version != 2 && h.version != 3:
		return nil, unsafe("version %d is not supported", h.version)
	case h.bits < smallestBits || h.bits > largestBits:
		return nil, damaged("its cluster size is out of range")
	case be.Uint64(head[8:]) != 0 || be.Uint32(head[16:]) != 0:
		return nil, unsafe("it has a backing file")
	case be.Uint32(head[32:]) != 0:
		return nil, unsafe("it is encrypted")
	}
	size := be.Uint64(head[24:])
	if size > uint64(max(most, 0)) {
		return nil, fault.New(fault.Exhausted, convert.ReasonTooLarge, "the disk has %d bytes; at most %d are allowed", size, most)
	}
	h.size = int64(size)
	length := int64(lengthV2)
	if h.version == 3 {
		var err error
		if length, err = h.parseV3(head); err != nil {
			return nil, err
		}
	}
	if err := h.place(be.Uint64(head[40:]), be.Uint32(head[36:])); err != nil {
		return nil, err
	}
	return h, checkExtensions(head, length, h.cluster())
}

// parseV3 reads what version 3 adds and returns the length of the header.
func (h *header) parseV3(head []byte) (int64, error) {
	if len(head) < lengthV3 {
		return 0, damaged("the data ends within its header")
	}
	features, length := binary.BigEndian.Uint64(head[72:]), int64(binary.BigEndian.Uint32(head[100:]))
	switch {
	case features&featureDataFile != 0:
		return 0, unsafe("it keeps its data in another file")
	case features&^featuresKnown != 0:
		return 0, unsafe("it needs unknown features (first is bit %d)", bits.TrailingZeros64(features&^featuresKnown))
	case features&featureCorrupt != 0:
		return 0, damaged("it is marked as corrupt")
	case length < lengthV3 || length%8 != 0 || length > min(h.cluster(), int64(len(head))):
		return 0, damaged("the length of its header is out of range")
	case features&featureExtended != 0 && h.bits < extendedBits:
		return 0, damaged("its clusters are too small for extended L2 entries")
	}
	var compression byte
	if length > lengthV3 {
		compression = head[lengthV3]
	}
	if compression > 1 || compression == 0 != (features&featureCompression == 0) {
		return 0, unsafe("its compression is unknown")
	}
	h.zstd, h.extended = compression == 1, features&featureExtended != 0
	return length, nil
}

// place checks and keeps where the L1 table is. have is how many entries the header gives it.
func (h *header) place(offset uint64, have uint32) error {
	if h.size == 0 {
		return nil
	}
	h.l1Entries = (h.size-1)/h.coverage() + 1
	switch {
	case h.l1Entries > int64(have):
		return damaged("its L1 table is too small for its size")
	case have > mostL1:
		return damaged("its L1 table is too large")
	case offset == 0 || offset > farthest || offset&uint64(h.cluster()-1) != 0:
		return damaged("its L1 table is not where it can be")
	}
	h.l1 = int64(offset)
	return nil
}
