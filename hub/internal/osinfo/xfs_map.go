package osinfo

// extent says where blocks of a file are.
type extent struct {
	first, at, count uint64 // at: allocation group and block in it
	unwritten        bool   // reads as zeroes
}

// extents returns the list that is in an inode. Longer ones, which are trees, are not read.
func (x *xfs) extents(f *file) ([]extent, error) {
	if f.raw[5] != xfsExtents {
		return nil, unsure("a file that is kept in a way that is not read")
	}
	b, err := x.fork(f)
	if err != nil {
		return nil, err
	}
	n := uint64(be.Uint32(f.raw[76:]))
	if be.Uint64(f.raw[120:])&xfsNrext != 0 {
		n = be.Uint64(f.raw[24:])
	}
	if n > uint64(len(b)/16) || n > xfsMaxExtent {
		return nil, unsure("more extents than fit")
	}
	list := make([]extent, n)
	for i := range list {
		hi, lo := be.Uint64(b[16*i:]), be.Uint64(b[16*i+8:])
		list[i] = extent{first: hi >> 9 & (1<<54 - 1), at: hi&0x1ff<<43 | lo>>21, count: lo & (1<<21 - 1), unwritten: hi>>63 != 0}
	}
	return list, nil
}

// read returns size bytes from block n of a file on, which must be one piece; nil for a hole.
func (x *xfs) read(list []extent, n uint64, size int64) ([]byte, error) {
	for _, e := range list {
		if n < e.first || n-e.first >= e.count {
			continue
		}
		if e.unwritten {
			return nil, nil
		}
		if n-e.first+uint64(size/x.block) > e.count {
			return nil, unsure("a block in several pieces")
		}
		at := e.at + n - e.first
		return x.at(at>>x.agLog, at&(1<<x.agLog-1), 0, size)
	}
	return nil, nil
}
