package inspect

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
)

const (
	vhdxTable1, vhdxTable2 = 192 << 10, 256 << 10
	vhdxTable              = 64 << 10
	vhdxFirstRegion        = 1 << 20
	vhdxMostSize           = 64 << 40
	vhdxMostEntries        = 2047
	vhdxRequired           = 4 // flag of a metadata item
	vhdxHasParent          = 2 // flag of the file parameters
)

// guid is as files have it: the first three groups are little-endian.
type guid [16]byte

// Regions and metadata items.
var (
	vhdxBAT      = guid{0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42, 0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08}
	vhdxMetadata = guid{0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e}

	vhdxFile     = guid{0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b}
	vhdxSize     = guid{0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8}
	vhdxLogical  = guid{0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47, 0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f}
	vhdxPhysical = guid{0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44, 0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56}
	vhdxPage83   = guid{0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45, 0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46}
	vhdxParent   = guid{0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45, 0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c}
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// detectVHDX recognises VHDX. Differencing disks are refused.
func detectVHDX(head []byte) *candidate {
	if !bytes.HasPrefix(head, []byte("vhdxfile")) {
		return nil
	}
	c := &candidate{format: VHDX}
	c.want = &region{at: vhdxTable1, length: vhdxTable, seen: (*candidate).vhdxRegions}
	return c
}

// vhdxRegions checks the region table, of which there must be two equal copies: readers differ in which they take.
func (c *candidate) vhdxRegions(p []byte) *region {
	le := binary.LittleEndian
	count := le.Uint32(p[8:])
	sum := crc32.Update(crc32.Update(crc32.Checksum(p[:4], castagnoli), castagnoli, make([]byte, 4)), castagnoli, p[8:])
	if string(p[:4]) != "regi" || count > vhdxMostEntries || le.Uint32(p[4:]) != sum {
		return c.refuse("its region table is damaged")
	}
	metadata := int64(-1)
	for i := range int(count) {
		entry := p[16+32*i:]
		switch id := guid(entry[:16]); {
		case id == vhdxMetadata && metadata < 0:
			metadata = int64(le.Uint64(entry[16:]))
			if metadata < vhdxFirstRegion || le.Uint32(entry[24:]) < vhdxTable {
				return c.refuse("its metadata is not where it can be")
			}
		case id == vhdxMetadata:
			return c.refuse("it has two sets of metadata")
		case id != vhdxBAT && le.Uint32(entry[28:])&1 != 0:
			return c.refuse("it needs a region that is unknown")
		}
	}
	if metadata < 0 {
		return c.refuse("it has no metadata")
	}
	first := sha256.Sum256(p)
	return &region{at: vhdxTable2, length: vhdxTable, seen: func(c *candidate, p []byte) *region {
		if sha256.Sum256(p) != first {
			return c.refuse("its region tables differ")
		}
		return &region{at: metadata, length: vhdxTable, seen: func(c *candidate, p []byte) *region {
			return c.vhdxItems(p, metadata)
		}}
	}}
}

// vhdxItems checks the table of the metadata at an offset.
func (c *candidate) vhdxItems(p []byte, metadata int64) *region {
	le := binary.LittleEndian
	count := le.Uint16(p[10:])
	if string(p[:8]) != "metadata" || count > vhdxMostEntries {
		return c.refuse("its metadata is damaged")
	}
	found := map[guid]int64{}
	for i := range int(count) {
		entry := p[32+32*i:]
		id, at := guid(entry[:16]), le.Uint32(entry[16:])
		if _, twice := found[id]; twice {
			return c.refuse("it has an item of metadata twice")
		}
		found[id] = metadata + int64(at)
		switch id {
		case vhdxParent:
			return c.refuse("it has a parent")
		case vhdxFile, vhdxSize:
			if at < vhdxTable || le.Uint32(entry[20:]) != 8 {
				return c.refuse("its metadata is damaged")
			}
		case vhdxLogical, vhdxPhysical, vhdxPage83:
		default:
			if le.Uint32(entry[24:])&vhdxRequired != 0 {
				return c.refuse("it needs an item of metadata that is unknown")
			}
		}
	}
	file, size := found[vhdxFile], found[vhdxSize]
	if file == 0 || size == 0 || file == size {
		return c.refuse("its metadata is damaged")
	}
	items := []*region{{at: file, length: 8, seen: (*candidate).vhdxParameters}, {at: size, length: 8, seen: (*candidate).vhdxDisk}}
	if size < file {
		items[0], items[1] = items[1], items[0]
	}
	first := items[0].seen
	items[0].seen = func(c *candidate, p []byte) *region {
		first(c, p)
		return items[1]
	}
	return items[0]
}

// vhdxParameters checks the parameters of the file.
func (c *candidate) vhdxParameters(p []byte) *region {
	block := binary.LittleEndian.Uint32(p)
	if binary.LittleEndian.Uint32(p[4:])&vhdxHasParent != 0 {
		return c.refuse("it has a parent")
	}
	if block < 1<<20 || block > 256<<20 || block&(block-1) != 0 {
		return c.refuse("its block size is out of range")
	}
	return nil
}

// vhdxDisk checks the size of the disk.
func (c *candidate) vhdxDisk(p []byte) *region {
	size := binary.LittleEndian.Uint64(p)
	if size > vhdxMostSize {
		return c.refuse("its size is out of range")
	}
	c.virtual = int64(size)
	return nil
}
