package osinfo

// Limits and magic numbers of extent trees and block maps.
const (
	extentMagic    = 0xf30a
	extentMaxDepth = 5
	extentInit     = 32768 // longer extents are allocated and not written: zeroes
	mapDirect      = 12    // blocks that the inode itself names
)

// place returns where block n of a file is, 0 for a hole.
func (e *ext) place(f *file, n int64) (uint64, error) {
	if f.flags()&extFlagTree != 0 {
		return e.extent(f.raw[40:100], uint64(n))
	}
	return e.mapped(f.raw[40:100], uint64(n))
}

// extent goes down an extent tree. Every level must be one less deep than the one above it.
func (e *ext) extent(node []byte, n uint64) (uint64, error) {
	depth := int(le.Uint16(node[6:]))
	if depth > extentMaxDepth {
		return 0, unsure("an extent tree that is too deep")
	}
	for ; ; depth-- {
		count := int(le.Uint16(node[2:]))
		if le.Uint16(node) != extentMagic || int(le.Uint16(node[6:])) != depth || 12*(count+1) > len(node) {
			return 0, unsure("a damaged extent tree")
		}
		rec := before(node[12:12*(count+1)], n)
		switch {
		case rec == nil:
			return 0, nil
		case depth == 0:
			return leaf(rec, n), nil
		}
		var err error
		if node, err = e.at(uint64(le.Uint32(rec[4:])) | uint64(le.Uint16(rec[8:]))<<32); err != nil {
			return 0, err
		}
	}
}

// before returns the last record that begins at or before block n; nil: none. Records are in order.
func before(recs []byte, n uint64) (rec []byte) {
	for ; len(recs) > 0; recs = recs[12:] {
		if uint64(le.Uint32(recs)) > n {
			break
		}
		rec = recs[:12]
	}
	return rec
}

// leaf returns where block n is by the extent that begins before it.
func leaf(rec []byte, n uint64) uint64 {
	first, length := uint64(le.Uint32(rec)), uint64(le.Uint16(rec[4:]))
	if length > extentInit || n >= first+length {
		return 0
	}
	return uint64(le.Uint32(rec[8:])) + uint64(le.Uint16(rec[6:]))<<32 + n - first
}

// mapped follows a block map: 12 blocks, then one of blocks, then one of such blocks, and one of those.
func (e *ext) mapped(pointers []byte, n uint64) (uint64, error) {
	if n < mapDirect {
		return uint64(le.Uint32(pointers[4*n:])), nil
	}
	n -= mapDirect
	per := uint64(e.block) / 4
	span := per
	for level := uint64(1); level <= 3; level++ {
		if n >= span {
			n, span = n-span, span*per
			continue
		}
		at := uint64(le.Uint32(pointers[4*(mapDirect+level-1):]))
		for ; level > 0 && at != 0; level-- {
			b, err := e.at(at)
			if err != nil {
				return 0, err
			}
			span /= per
			at = uint64(le.Uint32(b[4*(n/span):]))
			n %= span
		}
		return at, nil
	}
	return 0, unsure("a file that is too long")
}
