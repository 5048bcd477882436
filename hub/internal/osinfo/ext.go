package osinfo

// The on-disk format is that of the Linux kernel's documentation, "ext4 Data Structures and Algorithms".

// Limits and flags of the ext family.
const (
	extMagic     = 0xef53
	extRoot      = 2
	extClean     = 1     // s_state: unmounted, without errors
	extMaxBlock  = 6     // log2 of the largest block in KiB
	extFast      = 60    // shorter symbolic links are in the inode
	extFlagCrypt = 0x800 // of an inode
	extFlagTree  = 0x80000
	extFlagIn    = 0x10000000 // the data is in the inode
)

// Incompatible features (s_feature_incompat) that make no difference to what is read: filetype, extents, 64bit, mmp, flex_bg,
// ea_inode, csum_seed, largedir, inline_data and encrypt, which inodes tell themselves, and casefold. A file system that
// needs its journal replayed is not among them, nor one whose group descriptors are elsewhere (meta_bg).
const extKnown = 0x2 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x2000 | 0x4000 | 0x8000 | 0x10000 | 0x20000

const ext64bit = 0x80

// ext is a file system of the family ext2, ext3 and ext4.
type ext struct {
	v         view
	block     int64 // bytes
	blocks    uint64
	inodes    uint64
	perGroup  uint64 // inodes
	inodeSize int64
	first     int64 // block of the superblock
	descSize  int64
	wide      bool // descriptors have upper halves
}

// openExt recognises the file system by its magic number; errNotFound without one.
func openExt(v view) (fileSystem, error) {
	if !v.has(1024, 1024) {
		return nil, errNotFound
	}
	s, err := v.read(1024, 1024)
	if err != nil {
		return nil, err
	}
	if le.Uint16(s[56:]) != extMagic {
		return nil, errNotFound
	}
	size, features := le.Uint32(s[24:]), le.Uint32(s[96:])
	if size > extMaxBlock || features&^extKnown != 0 || le.Uint16(s[58:])&3 != extClean {
		return nil, unsure("an ext file system with unknown features, or that was not unmounted")
	}
	e := &ext{
		v: v, block: 1024 << size, inodes: uint64(le.Uint32(s[0:])), perGroup: uint64(le.Uint32(s[40:])),
		blocks: uint64(le.Uint32(s[4:])), inodeSize: 128, descSize: 32,
	}
	if e.block == 1024 {
		e.first = 1 // with clusters it says 0, because clusters begin there
	}
	if le.Uint32(s[76:]) > 0 {
		e.inodeSize = int64(le.Uint16(s[88:]))
	}
	if e.wide = features&ext64bit != 0; e.wide {
		e.descSize = int64(le.Uint16(s[254:]))
		e.blocks |= uint64(le.Uint32(s[0x150:])) << 32
	}
	if e.perGroup == 0 || !powerOf2(e.inodeSize, 128, e.block) || !powerOf2(e.descSize, 32, 1024) || e.wide && e.descSize < 64 {
		return nil, unsure("an ext file system with impossible numbers")
	}
	return e, nil
}

func powerOf2(n, least, most int64) bool { return n >= least && n <= most && n&(n-1) == 0 }

func (e *ext) root() uint64 { return extRoot }

func (e *ext) inode(ino uint64) (*file, error) {
	if ino == 0 || ino > e.inodes {
		return nil, unsure("an impossible inode")
	}
	group, index := (ino-1)/e.perGroup, (ino-1)%e.perGroup
	d, err := e.v.read((e.first+1)*e.block+int64(group)*e.descSize, e.descSize)
	if err != nil {
		return nil, err
	}
	table := uint64(le.Uint32(d[8:]))
	if e.wide {
		table |= uint64(le.Uint32(d[0x28:])) << 32
	}
	if table == 0 || table >= e.blocks || table > uint64(e.v.size/e.block) {
		return nil, unsure("an inode table outside the file system")
	}
	raw, err := e.v.read(int64(table)*e.block+int64(index)*e.inodeSize, e.inodeSize)
	if err != nil {
		return nil, err
	}
	f := &file{kind: kindOf(le.Uint16(raw)), ino: ino, raw: raw, size: int64(le.Uint32(raw[4:]))}
	if f.kind == regular || f.kind == directory {
		f.size |= int64(le.Uint32(raw[108:])) << 32
	}
	if f.size < 0 || le.Uint16(raw[26:]) == 0 {
		return nil, unsure("an inode with impossible numbers")
	}
	return f, nil
}

// flags returns those of an inode.
func (f *file) flags() uint32 { return le.Uint32(f.raw[32:]) }

func (e *ext) data(f *file) ([]byte, error) {
	if f.kind == symlink && f.size < extFast && f.flags()&(extFlagIn|extFlagCrypt) == 0 {
		return f.raw[40 : 40+f.size], nil
	}
	out := make([]byte, 0, f.size)
	for n := int64(0); n*e.block < f.size; n++ {
		b, err := e.read(f, n)
		if err != nil {
			return nil, err
		}
		out = append(out, b[:min(e.block, f.size-int64(len(out)))]...)
	}
	return out, nil
}

// read returns block n of a file; holes are zeroes.
func (e *ext) read(f *file, n int64) ([]byte, error) {
	if f.flags()&(extFlagIn|extFlagCrypt) != 0 {
		return nil, unsure("encrypted data, or data in an inode")
	}
	at, err := e.place(f, n)
	if err != nil {
		return nil, err
	}
	if at == 0 {
		return make([]byte, e.block), nil
	}
	return e.at(at)
}

// at returns a block of the file system.
func (e *ext) at(n uint64) ([]byte, error) {
	if n == 0 || n >= e.blocks || n > uint64(e.v.size/e.block) {
		return nil, unsure("a block outside the file system")
	}
	return e.v.read(int64(n)*e.block, e.block)
}
