package inspect

import (
	"bytes"
	"encoding/binary"
)

const (
	vmdkHeader     = sector
	vmdkVersion    = 3
	vmdkAtEnd      = 1<<64 - 1 // grain directory offset of a file whose footer has it
	vmdkDescriptor = "# Disk DescriptorFile"
	vmdkSparse     = "KDMV"
	vmdkMostGrain  = 128 // sectors, as most readers have it
	vmdkFooterMark = 3
)

// detectVMDK recognises the files of VMware's disks. Those that describe a disk in other files are refused, so that only
// monolithicSparse and streamOptimized are left.
func detectVMDK(head []byte) *candidate {
	c := &candidate{format: VMDK}
	switch {
	case bytes.HasPrefix(head, []byte(vmdkSparse)):
		c.vmdkHeader(head)
	case bytes.HasPrefix(head, []byte("COWD")):
		c.refuse("disks of ESX hosts are not accepted")
	case isDescriptor(head):
		c.refuse("it describes a disk that is in other files")
	default:
		return nil
	}
	return c
}

// isDescriptor reports whether data is the text that describes a disk. Readers skip comments and blank lines, and take what
// follows for such a text by its first line.
func isDescriptor(head []byte) bool {
	for line := range bytes.SplitSeq(head, []byte("\n")) {
		line = bytes.ToLower(bytes.TrimSpace(line))
		switch {
		case bytes.HasPrefix(line, []byte("# disk descriptorfile")):
			return true
		case len(line) == 0 || line[0] == '#':
			continue
		}
		key, _, ok := bytes.Cut(line, []byte("="))
		switch string(bytes.TrimSpace(key)) {
		case "version", "encoding", "cid", "parentcid", "createtype":
			return ok
		}
		return false
	}
	return false
}

func (c *candidate) vmdkHeader(head []byte) {
	if len(head) < vmdkHeader {
		c.refuse("the data ends before its header does")
		return
	}
	le := binary.LittleEndian
	capacity, grain := le.Uint64(head[12:]), le.Uint64(head[20:])
	at, length := le.Uint64(head[28:]), le.Uint64(head[36:])
	switch v := le.Uint32(head[4:]); {
	case v == 0 || v > vmdkVersion:
		c.refuse("version %d is not supported", v)
	case string(head[73:77]) != "\n \r\n":
		c.refuse("it was damaged by a transfer as text")
	case capacity == 0 || capacity > 1<<54-1:
		c.refuse("its size is out of range")
	case grain == 0 || grain&(grain-1) != 0 || grain > vmdkMostGrain:
		c.refuse("its grain size is out of range")
	case at == 0 || length == 0:
		c.refuse("it is a part of a disk in several files")
	case at > headSize/sector || length > mostWant/sector:
		c.refuse("its descriptor is too far behind or too long")
	case le.Uint16(head[77:]) > 1:
		c.refuse("its compression is unknown")
	}
	if c.fault != "" {
		return
	}
	c.virtual = int64(capacity) * sector
	c.want = &region{at: int64(at) * sector, length: int(length) * sector, seen: (*candidate).vmdkDescriptor}
	if le.Uint64(head[56:]) == vmdkAtEnd {
		header := bytes.Clone(head[:vmdkHeader])
		c.end = func(c *candidate, tail []byte, _ int64) { c.vmdkFooter(header, tail) }
	}
}

// vmdkFooter checks the end of a stream: a marker, a header that differs from the first one only in where the data
// is, and an empty sector.
func (c *candidate) vmdkFooter(header, tail []byte) {
	if len(tail) < 3*sector {
		c.refuse("its footer is missing")
		return
	}
	marker, footer, last := tail[:sector], bytes.Clone(tail[sector:2*sector]), tail[2*sector:]
	le := binary.LittleEndian
	switch {
	case le.Uint32(marker[8:]) != 0 || le.Uint32(marker[12:]) != vmdkFooterMark:
		c.refuse("its footer is missing")
	case !zero(last):
		c.refuse("it has no end")
	case le.Uint64(footer[56:]) == vmdkAtEnd:
		c.refuse("it does not say where its data is")
	}
	copy(footer[48:73], header[48:73]) // where the data is, and whether the disk was closed
	if !bytes.Equal(header, footer) {
		c.refuse("its footer contradicts its header")
	}
}

func zero(p []byte) bool { return len(bytes.TrimLeft(p, "\x00")) == 0 }
