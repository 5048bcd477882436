package osinfo

// lookup reads a directory from its first block to its last. That finds the entries of indexed directories too: the blocks of the
// index look like blocks whose entries are not used.
func (e *ext) lookup(dir *file, name string) (uint64, error) {
	if dir.size > maxDir {
		return 0, unsure("a directory that is too long")
	}
	for n := int64(0); n*e.block < dir.size; n++ {
		b, err := e.read(dir, n)
		if err != nil {
			return 0, err
		}
		ino, err := search(b, name)
		if err != nil || ino != 0 {
			return ino, err
		}
	}
	return 0, errNotFound
}

// search looks through the entries of one block, which fill it; 0: the name is not there.
func search(b []byte, name string) (uint64, error) {
	for len(b) > 0 {
		if len(b) < 8 {
			return 0, unsure("a damaged directory")
		}
		ino, length, size := uint64(le.Uint32(b)), recordLength(b), int(b[6])
		if length < 8 || length > len(b) || length%4 != 0 || 8+size > length {
			return 0, unsure("a damaged directory")
		}
		if ino != 0 && string(b[8:8+size]) == name {
			return ino, nil
		}
		b = b[length:]
	}
	return 0, nil
}

// recordLength returns the length of an entry: blocks of 64 KiB need more than 16 bits for it, which are in the lowest two.
func recordLength(b []byte) int {
	n := int(le.Uint16(b[4:]))
	if n == 0xffff || n == 0 && len(b) == 1<<16 {
		return 1 << 16
	}
	return n&^3 | n&3<<16
}
