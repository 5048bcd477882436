package inspect

import "encoding/binary"

const (
	vdiMagic   = 0xbeda107f
	vdiHeader  = 512
	vdiVersion = 0x10001
	vdiDynamic = 1
	vdiStatic  = 2
)

// detectVDI recognises the disks of VirtualBox. Those that depend on another are refused.
func detectVDI(head []byte) *candidate {
	le := binary.LittleEndian
	if len(head) < 68 || le.Uint32(head[64:]) != vdiMagic {
		return nil
	}
	c := &candidate{format: VDI}
	if len(head) < vdiHeader {
		c.refuse("the data ends before its header does")
		return c
	}
	kind, size := le.Uint32(head[0x4c:]), le.Uint64(head[0x170:])
	block, blocks := uint64(le.Uint32(head[0x178:])), uint64(le.Uint32(head[0x180:]))
	switch {
	case le.Uint32(head[0x44:]) != vdiVersion:
		c.refuse("its version is not supported")
	case kind != vdiDynamic && kind != vdiStatic, !zero(head[0x1a8:0x1c8]):
		c.refuse("it depends on another disk")
	case le.Uint32(head[0x168:]) != sector:
		c.refuse("its sectors are not of %d bytes", sector)
	case size > 1<<63-1:
		c.refuse("its size is out of range")
	case block < sector || block&(block-1) != 0 || block > 256<<20:
		c.refuse("its block size is out of range")
	case blocks*block < size:
		c.refuse("its table is smaller than its size")
	case le.Uint32(head[0x154:])%sector != 0 || le.Uint32(head[0x158:])%sector != 0:
		c.refuse("its tables are not where they can be")
	default:
		c.virtual = int64(size)
	}
	return c
}
