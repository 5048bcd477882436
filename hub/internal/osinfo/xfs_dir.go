package osinfo

// Directories.
const (
	xfsDirHead  = 64       // bytes before the entries of a block
	xfsDirLeaf  = 32 << 30 // byte of a directory where its index begins
	xfsOneBlock = "XDB3"
	xfsMany     = "XDD3"
)

func (x *xfs) lookup(dir *file, name string) (uint64, error) {
	if dir.raw[5] == xfsLocal {
		return x.short(dir, name)
	}
	if dir.size > maxDir {
		return 0, unsure("a directory that is too long")
	}
	list, err := x.extents(dir)
	if err != nil {
		return 0, err
	}
	step := uint64(x.dirBlock / x.block)
	for n := uint64(0); int64(n)*x.block < min(dir.size, xfsDirLeaf); n += step {
		b, err := x.read(list, n, x.dirBlock)
		if err != nil {
			return 0, err
		}
		if b == nil {
			continue // freed
		}
		ino, err := x.search(b, name)
		if err != nil || ino != 0 {
			return ino, err
		}
	}
	return 0, errNotFound
}

// short looks through a directory that is in its inode.
func (x *xfs) short(dir *file, name string) (uint64, error) {
	b, err := x.fork(dir)
	if err != nil {
		return 0, err
	}
	if dir.size > int64(len(b)) || dir.size < 6 {
		return 0, unsure("a damaged directory")
	}
	b = b[:dir.size]
	width, count := 4, int(b[0])
	if b[1] != 0 {
		width = 8
	}
	kind := 0
	if x.ftype {
		kind = 1
	}
	if len(b) < 2+width {
		return 0, unsure("a damaged directory")
	}
	b = b[2+width:]
	for range count {
		if len(b) < 3 || len(b) < 3+int(b[0])+kind+width {
			return 0, unsure("a damaged directory")
		}
		size := int(b[0])
		if string(b[3:3+size]) == name {
			ino := b[3+size+kind:]
			if width == 8 {
				return be.Uint64(ino), nil
			}
			return uint64(be.Uint32(ino)), nil
		}
		b = b[3+size+kind+width:]
	}
	return 0, errNotFound
}

// search looks through the entries of one block; 0: the name is not there.
func (x *xfs) search(b []byte, name string) (uint64, error) {
	end := len(b)
	switch string(b[:4]) {
	case xfsMany:
	case xfsOneBlock: // the index is at the end, and its length behind it
		index := uint64(be.Uint32(b[end-8:]))
		if index > uint64(end/8) {
			return 0, unsure("a damaged directory")
		}
		end -= 8 + 8*int(index)
	default:
		return 0, unsure("a damaged directory")
	}
	for at := xfsDirHead; at < end; {
		e := b[at:end]
		if len(e) < 16 {
			return 0, unsure("a damaged directory")
		}
		if be.Uint16(e) == 0xffff { // not used
			length := int(be.Uint16(e[2:]))
			if length < 8 || length%8 != 0 || length > len(e) {
				return 0, unsure("a damaged directory")
			}
			at += length
			continue
		}
		size := int(e[8])
		length := x.entryLength(size)
		if size == 0 || length > len(e) {
			return 0, unsure("a damaged directory")
		}
		if string(e[9:9+size]) == name {
			return be.Uint64(e), nil
		}
		at += length
	}
	return 0, nil
}

// entryLength returns the length of an entry with a name of size bytes: inode, length, name, perhaps kind, and place, in multiples
// of 8.
func (x *xfs) entryLength(size int) int {
	n := 8 + 1 + size + 2
	if x.ftype {
		n++
	}
	return (n + 7) &^ 7
}
