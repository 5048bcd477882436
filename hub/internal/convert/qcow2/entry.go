package qcow2

import "math/bits"

// What the specification says of table entries.
const (
	offsetMask     = 0x00fffffffffffe00 // bits 9 to 55 of an L1 entry and of a standard cluster descriptor
	flagCompressed = 1 << 62
	flagZero       = 1
	descriptorMask = 1<<62 - 1

	sector      = 512
	subclusters = 32 // in a cluster with an extended L2 entry
)

// layout takes what the tables say, from the first byte of the disk to the last.
type layout interface {
	// hole takes n bytes of zeroes.
	hole(n int64)
	// plain takes n bytes that are at an offset of the data.
	plain(n, host int64) error
	// packed takes a cluster whose compressed form is at an offset of the data and has at most length bytes. Only n bytes of the
	// cluster are on the disk.
	packed(n, host, length int64) error
}

// lay reports what an L2 entry says of the n bytes of disk that its cluster has. bitmap is the second half of an extended entry.
func (h *header) lay(entry, bitmap uint64, n int64, to layout) error {
	if entry&flagCompressed != 0 {
		return h.layPacked(entry, n, to)
	}
	host := int64(entry & offsetMask)
	if host&(h.cluster()-1) != 0 {
		return damaged("a cluster is not where one can be")
	}
	if h.extended {
		return h.laySubclusters(host, uint32(bitmap), uint32(bitmap>>32), n, to)
	}
	if entry&flagZero != 0 && h.version < 3 {
		return damaged("a cluster is marked as zero, which version 2 does not know")
	}
	if entry&flagZero != 0 || host == 0 {
		to.hole(n)
		return nil
	}
	return to.plain(n, host)
}

// layPacked reports a compressed cluster.
func (h *header) layPacked(entry uint64, n int64, to layout) error {
	shift := 70 - h.bits
	host := int64(entry & (1<<shift - 1))
	sectors := int64(entry&descriptorMask>>shift) + 1
	if host >= farthest {
		return damaged("a compressed cluster is not where one can be")
	}
	return to.packed(n, host, sectors*sector-host%sector)
}

// laySubclusters reports the runs of subclusters of a cluster that are alike. A bit of alloc says that a subcluster has data, one of
// zero that it has none.
func (h *header) laySubclusters(host int64, alloc, zero uint32, n int64, to layout) error {
	if alloc&zero != 0 || host == 0 && alloc != 0 {
		return damaged("the bitmap of a cluster contradicts itself")
	}
	size := h.cluster() / subclusters
	for at := int64(0); at < n; {
		rest := alloc >> (at / size)
		run := bits.TrailingZeros32(rest)
		if rest&1 != 0 {
			run = bits.TrailingZeros32(^rest)
		}
		length := min(int64(run)*size, n-at)
		if rest&1 == 0 {
			to.hole(length)
		} else if err := to.plain(length, host+at); err != nil {
			return err
		}
		at += length
	}
	return nil
}
