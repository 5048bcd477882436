package osinfo

// The on-disk format is that of "XFS Algorithms & Data Structures", of version 5 with checksums.

// Magic numbers and limits.
const (
	xfsMagic     = "XFSB"
	xfsVersion   = 5
	xfsInode     = 0x494e
	xfsFork      = 176 // where the data fork of an inode begins
	xfsMaxExtent = 512 // extents of a file, more than fit into any inode
)

// Forms of what a fork holds.
const (
	xfsLocal   = 1
	xfsExtents = 2
)

// Incompatible features (sb_features_incompat) that make no difference to what is read: ftype, sparse inodes, metadata UUIDs, big
// timestamps, large extent counts, exchanged ranges and parent pointers.
const (
	xfsKnown  = 0x1 | 0x2 | 0x4 | 0x8 | 0x20 | 0x40 | 0x80
	xfsFtype  = 0x1
	xfsNrext  = 0x10 // of an inode's flags: 64 bits for the number of extents
	xfsOnReal = 0x1  // of an inode's flags: the data is on another device
)

// xfs is a file system of that kind.
type xfs struct {
	v         view
	block     int64 // bytes
	agBlocks  uint64
	agCount   uint64
	agLog     uint // bits of a block number within its allocation group
	inodeSize int64
	inodeLog  uint // bits of an inode's number within its block
	dirBlock  int64
	rootIno   uint64
	ftype     bool // entries of directories tell the kind
}

// openXFS recognises the file system by its magic number; errNotFound without one.
func openXFS(v view) (fileSystem, error) {
	if !v.has(0, 512) {
		return nil, errNotFound
	}
	s, err := v.read(0, 512)
	if err != nil {
		return nil, err
	}
	if string(s[:4]) != xfsMagic {
		return nil, errNotFound
	}
	features := be.Uint32(s[216:])
	if be.Uint16(s[100:])&0xf != xfsVersion || features&^uint32(xfsKnown) != 0 || s[126] != 0 {
		return nil, unsure("an XFS of another version, with unknown features or unfinished")
	}
	x := &xfs{
		v: v, block: int64(be.Uint32(s[4:])), agBlocks: uint64(be.Uint32(s[84:])), agCount: uint64(be.Uint32(s[88:])), agLog: uint(s[124]),
		inodeSize: int64(be.Uint16(s[104:])), inodeLog: uint(s[123]), rootIno: be.Uint64(s[56:]), ftype: features&xfsFtype != 0,
	}
	if s[192] > 7 || !powerOf2(x.block, 1024, 65536) || !powerOf2(x.inodeSize, 512, 2048) ||
		x.inodeSize<<(x.inodeLog&15) != x.block || x.agLog > 31 || x.agBlocks == 0 || x.agBlocks > 1<<x.agLog || x.agCount == 0 {
		return nil, unsure("an XFS with impossible numbers")
	}
	if x.dirBlock = x.block << s[192]; x.dirBlock > 65536 {
		return nil, unsure("an XFS with impossible directories")
	}
	log := xfsLog{x: x, start: be.Uint64(s[48:]), sectors: int64(be.Uint32(s[96:])) * (x.block / 512)}
	return x, log.clean()
}

func (x *xfs) root() uint64 { return x.rootIno }

// at returns n bytes of the file system from a place in a block.
func (x *xfs) at(ag, block uint64, off, n int64) ([]byte, error) {
	if ag >= x.agCount || block >= x.agBlocks {
		return nil, unsure("a block outside the file system")
	}
	nth := ag*x.agBlocks + block // both fit into 32 bits
	if nth >= uint64(x.v.size/x.block) {
		return nil, unsure("a block outside its volume")
	}
	return x.v.read(int64(nth)*x.block+off, n)
}

func (x *xfs) inode(ino uint64) (*file, error) {
	block := ino >> x.inodeLog
	raw, err := x.at(block>>x.agLog, block&(1<<x.agLog-1), int64(ino&(1<<x.inodeLog-1))*x.inodeSize, x.inodeSize)
	if err != nil {
		return nil, err
	}
	f := &file{kind: kindOf(be.Uint16(raw[2:])), size: int64(be.Uint64(raw[56:])), ino: ino, raw: raw}
	if be.Uint16(raw) != xfsInode || raw[4] != 3 || be.Uint64(raw[152:]) != ino || f.size < 0 || be.Uint16(raw[90:])&xfsOnReal != 0 {
		return nil, unsure("an inode with impossible numbers")
	}
	return f, nil
}

// fork returns the data fork of an inode: what is between the head and the attributes.
func (x *xfs) fork(f *file) ([]byte, error) {
	end := x.inodeSize
	if off := int64(f.raw[82]) * 8; off != 0 {
		end = xfsFork + off
	}
	if end > x.inodeSize {
		return nil, unsure("an inode with impossible numbers")
	}
	return f.raw[xfsFork:end], nil
}

func (x *xfs) data(f *file) ([]byte, error) {
	if f.raw[5] == xfsLocal && f.kind == symlink {
		b, err := x.fork(f)
		if err != nil || f.size > int64(len(b)) {
			return nil, unsure("a symbolic link that is longer than its inode")
		}
		return b[:f.size], nil
	}
	list, err := x.extents(f)
	if err != nil {
		return nil, err
	}
	if f.kind == symlink {
		return x.remote(list, f.size)
	}
	out := make([]byte, 0, f.size)
	for n := uint64(0); int64(len(out)) < f.size; n++ {
		b, err := x.read(list, n, x.block)
		if err != nil {
			return nil, err
		}
		if b == nil {
			b = make([]byte, x.block)
		}
		out = append(out, b[:min(x.block, f.size-int64(len(out)))]...)
	}
	return out, nil
}

// remote reads a symbolic link from extents of its own, each of which has a head of 56 bytes.
func (x *xfs) remote(list []extent, size int64) (out []byte, err error) {
	const head = 56
	for _, e := range list {
		length := int64(e.count) * x.block
		if length > maxTarget+x.block { // far longer than any that is made
			return nil, unsure("a damaged symbolic link")
		}
		b, err := x.read(list, e.first, length)
		if err != nil {
			return nil, err
		}
		if b == nil || string(b[:4]) != "XSLM" || int64(be.Uint32(b[4:])) != int64(len(out)) {
			return nil, unsure("a damaged symbolic link")
		}
		length = int64(be.Uint32(b[8:]))
		if length == 0 || length > int64(len(b))-head || length > size-int64(len(out)) {
			return nil, unsure("a damaged symbolic link")
		}
		out = append(out, b[head:head+length]...)
	}
	if int64(len(out)) != size {
		return nil, unsure("a damaged symbolic link")
	}
	return out, nil
}
