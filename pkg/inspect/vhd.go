package inspect

import (
	"bytes"
	"encoding/binary"
)

const (
	vhdCookie       = "conectix"
	vhdVersion      = 0x10000
	vhdFixed        = 2
	vhdDynamic      = 3
	vhdDifferencing = 4
	vhdDynamicSize  = 1024
)

// detectVHD recognises dynamic disks, which have a copy of their footer at the beginning.
func detectVHD(head []byte) *candidate {
	if !bytes.HasPrefix(head, []byte(vhdCookie)) {
		return nil
	}
	c := &candidate{format: VHD}
	if len(head) < sector {
		c.refuse("the data ends before its header does")
		return c
	}
	kind, at := c.vhdFooter(head[:sector]), binary.BigEndian.Uint64(head[16:])
	switch {
	case c.fault != "":
	case kind == vhdDifferencing:
		c.refuse("it has a parent")
	case kind != vhdDynamic:
		c.refuse("its type is not accepted, only fixed and dynamic are")
	case at < sector || at > headSize-vhdDynamicSize:
		c.refuse("its header is not where it can be")
	default:
		c.want = &region{at: int64(at), length: vhdDynamicSize, seen: (*candidate).vhdDynamic}
	}
	return c
}

// vhdFooter checks a footer and returns the type of the disk.
func (c *candidate) vhdFooter(p []byte) uint32 {
	be := binary.BigEndian
	size := be.Uint64(p[48:])
	switch {
	case be.Uint32(p[12:]) != vhdVersion:
		c.refuse("its version is not supported")
	case be.Uint32(p[64:]) != vhdSum(p, 64):
		c.refuse("its footer is damaged")
	case size > 1<<63-1:
		c.refuse("its size is out of range")
	}
	c.virtual = int64(size & (1<<63 - 1))
	return be.Uint32(p[60:])
}

// vhdSum is the checksum of a structure whose own sum is at an offset.
func vhdSum(p []byte, at int) uint32 {
	var sum uint32
	for i, b := range p {
		if i < at || i >= at+4 {
			sum += uint32(b)
		}
	}
	return ^sum
}

// vhdDynamic checks the header of a dynamic disk.
func (c *candidate) vhdDynamic(p []byte) *region {
	be := binary.BigEndian
	block := uint64(be.Uint32(p[32:]))
	switch {
	case string(p[:8]) != "cxsparse":
		c.refuse("its header is missing")
	case be.Uint32(p[24:]) != vhdVersion:
		c.refuse("its version is not supported")
	case be.Uint32(p[36:]) != vhdSum(p, 36):
		c.refuse("its header is damaged")
	case !zero(p[40:56]) || !zero(p[64:768]):
		c.refuse("it has a parent")
	case block < sector || block&(block-1) != 0 || block > 256<<20:
		c.refuse("its block size is out of range")
	case uint64(be.Uint32(p[28:]))*block < uint64(c.virtual):
		c.refuse("its table is smaller than its size")
	}
	return nil
}

// detectFixedVHD recognises fixed disks, which are raw ones with a footer behind them, among data whose beginning has
// shown the formats known.
func detectFixedVHD(known []*candidate, tail []byte, size int64) *candidate {
	if len(tail) < sector || size <= sector {
		return nil
	}
	footer := tail[len(tail)-sector:]
	c := &candidate{format: VHD}
	switch {
	case string(footer[:8]) != vhdCookie:
		return nil
	case c.vhdFooter(footer) != vhdFixed || c.fault != "":
		return nil // what follows a dynamic disk, or chance
	}
	for _, k := range known {
		if k.format == VHD {
			return nil
		}
	}
	if c.virtual > size-sector {
		c.refuse("its data is cut off")
	}
	return c
}
