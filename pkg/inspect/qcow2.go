package inspect

import (
	"bytes"
	"encoding/binary"
)

const (
	qcow2HeaderV2 = 72
	qcow2HeaderV3 = 104
	// qcow2Known are the incompatible features that readers know: dirty, corrupt, external data file, compression type,
	// extended L2 entries.
	qcow2Known        = 1<<5 - 1
	qcow2DataFile     = 1 << 2
	qcow2Compression  = 1 << 3
	qcow2ExtendedL2   = 1 << 4
	qcow2DataFileName = 0x44415441
	qcow2MostL1       = 32 << 20 / 8 // entries, as QEMU has it
	qcow2MostShots    = 65536
)

// detectQCOW2 recognises qcow2. Internal snapshots are allowed; what names another file is not.
func detectQCOW2(head []byte) *candidate {
	if !bytes.HasPrefix(head, []byte("QFI\xfb")) {
		return nil
	}
	c := &candidate{format: QCOW2}
	if len(head) < qcow2HeaderV2 {
		c.refuse("the data ends before its header does")
		return c
	}
	be := binary.BigEndian
	version, bits := be.Uint32(head[4:]), be.Uint32(head[20:])
	backing, backingLength := be.Uint64(head[8:]), be.Uint32(head[16:])
	size, crypt := be.Uint64(head[24:]), be.Uint32(head[32:])
	switch {
	case version != 2 && version != 3:
		c.refuse("version %d is not supported", version)
	case backing != 0 || backingLength != 0:
		c.refuse("it has a backing file")
	case bits < 9 || bits > 21:
		c.refuse("its cluster size is out of range")
	case size > 1<<63-1:
		c.refuse("its size is out of range")
	case crypt > 2:
		c.refuse("its encryption method is unknown")
	case be.Uint32(head[36:]) > qcow2MostL1:
		c.refuse("its L1 table is too large")
	case be.Uint32(head[60:]) > qcow2MostShots:
		c.refuse("it has too many snapshots")
	case (be.Uint64(head[40:])|be.Uint64(head[48:]))&(1<<bits-1) != 0:
		c.refuse("its tables are not where they can be")
	}
	if c.fault != "" {
		return c
	}
	c.virtual = int64(size)
	length := uint64(qcow2HeaderV2)
	if version == 3 {
		length = c.qcow2V3(head, 1<<bits)
	}
	if c.fault == "" {
		c.qcow2Extensions(head, length, 1<<bits)
	}
	return c
}

// qcow2V3 checks what version 3 adds to the header and returns the header's length.
func (c *candidate) qcow2V3(head []byte, cluster uint64) uint64 {
	if len(head) < qcow2HeaderV3 {
		c.refuse("the data ends before its header does")
		return 0
	}
	be := binary.BigEndian
	features, order, length := be.Uint64(head[72:]), be.Uint32(head[96:]), uint64(be.Uint32(head[100:]))
	switch {
	case features&qcow2DataFile != 0:
		c.refuse("it keeps its data in another file")
	case features&^qcow2Known != 0:
		c.refuse("it needs features that are unknown")
	case order > 6:
		c.refuse("its reference counts are too wide")
	case length < qcow2HeaderV3 || length%8 != 0 || length > min(cluster, headSize) || length > uint64(len(head)):
		c.refuse("the length of its header is out of range")
	case features&qcow2Compression != 0 && (length <= qcow2HeaderV3 || head[104] > 1):
		c.refuse("its compression is unknown")
	case features&qcow2ExtendedL2 != 0 && cluster < 16<<10:
		c.refuse("its clusters are too small for extended L2 entries")
	}
	return length
}

// qcow2Extensions walks over the header extensions from an offset.
func (c *candidate) qcow2Extensions(head []byte, at, cluster uint64) {
	end := min(cluster, uint64(len(head)))
	for at+8 <= end {
		kind, length := binary.BigEndian.Uint32(head[at:]), uint64(binary.BigEndian.Uint32(head[at+4:]))
		switch {
		case kind == 0:
			return
		case kind == qcow2DataFileName:
			c.refuse("it names a file for its data")
			return
		case length > end-at-8:
			c.refuse("an extension of its header is longer than there is room")
			return
		}
		at += 8 + (length+7)/8*8
	}
	if at < cluster { // what follows has not been looked at
		c.refuse("its header extensions have no end")
	}
}
