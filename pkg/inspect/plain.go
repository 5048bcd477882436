package inspect

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"strings"
)

// detectISO recognises optical disks by the first descriptor of their volumes.
func detectISO(head []byte) *candidate {
	const at = 16 * 2048
	if len(head) < at+7 || string(head[at+1:at+6]) != "CD001" {
		return nil
	}
	return &candidate{format: ISO}
}

// detectLUKS recognises encrypted disks. What is inside cannot be seen by anybody without the passphrase.
func detectLUKS(head []byte) *candidate {
	if !bytes.HasPrefix(head, []byte("LUKS\xba\xbe")) {
		return nil
	}
	c := &candidate{format: LUKS}
	const header1, header2 = 592, 4096
	be := binary.BigEndian
	switch {
	case len(head) < header1:
		c.refuse("the data ends before its header does")
	case be.Uint16(head[6:]) == 1:
		c.luks1(head[:header1])
	case be.Uint16(head[6:]) != 2:
		c.refuse("its version is not supported")
	case len(head) < header2 || be.Uint64(head[8:]) < 4*header2 || be.Uint64(head[8:]) > 4<<20 || be.Uint64(head[256:]) != 0:
		c.refuse("its header is damaged")
	}
	return c
}

// luks1 checks a header of version 1: at least one passphrase opens it, and its data is behind it.
func (c *candidate) luks1(head []byte) {
	const enabled, slots, slotAt, slotSize = 0x00ac71f3, 8, 208, 48
	be := binary.BigEndian
	payload, used := be.Uint32(head[104:]), 0
	for i := range slots {
		slot := head[slotAt+i*slotSize:]
		if be.Uint32(slot) == enabled {
			used++
			if payload != 0 && be.Uint32(slot[40:]) >= payload {
				c.refuse("its header is damaged")
			}
		}
	}
	switch {
	case used == 0:
		c.refuse("no passphrase opens it")
	case payload == 0:
		c.refuse("its data is in another file")
	case be.Uint32(head[108:]) == 0 || be.Uint32(head[108:]) > 64:
		c.refuse("the length of its key is out of range")
	}
}

// detectPartitions recognises disks with a table of partitions: GPT behind a protective MBR, or MBR. Boot sectors of other
// kinds have the same signature; they are nothing special.
func detectPartitions(head []byte) *candidate {
	if len(head) < sector || head[510] != 0x55 || head[511] != 0xaa {
		return nil
	}
	var used, protective int
	sane, first := true, uint32(0)
	for i := range 4 {
		p := head[446+16*i:]
		sane = sane && p[0]&0x7f == 0
		if p[4] != 0 {
			used++
		}
		if p[4] == 0xee {
			protective++
			first = binary.LittleEndian.Uint32(p[8:])
		}
	}
	table := gptHeader(head)
	if protective == 0 || table == nil {
		if sane && used > 0 {
			return &candidate{format: MBR}
		}
		return nil
	}
	c := &candidate{format: GPT}
	size, entries, each := binary.LittleEndian.Uint32(table[12:]), binary.LittleEndian.Uint32(table[80:]), binary.LittleEndian.Uint32(table[84:])
	switch {
	case !sane:
		c.refuse("its protective MBR is damaged")
	case protective > 1 || first != 1:
		c.refuse("its protective MBR does not protect it")
	case size < 92 || size > sector, each < 128 || each&(each-1) != 0 || each > 4096, entries == 0 || entries > 16384:
		c.refuse("its header is damaged")
	}
	return c
}

// gptHeader returns the header of a GPT, for sectors of 512 and of 4096 bytes.
func gptHeader(head []byte) []byte {
	for _, at := range []int{sector, 4096} {
		if len(head) >= at+sector && string(head[at:at+8]) == "EFI PART" {
			return head[at : at+sector]
		}
	}
	return nil
}

// detectTar recognises tar archives, and among them those of virtual machines, by their first member. The names of members
// are not used for anything.
func detectTar(head []byte) *candidate {
	if len(head) < sector || head[0] == 0 {
		return nil
	}
	sum := int(8 * ' ')
	for i, b := range head[:sector] {
		if i < 148 || i >= 156 {
			sum += int(b)
		}
	}
	field := strings.Trim(string(head[148:156]), " \x00")
	if want, err := strconv.ParseInt(field, 8, 32); err != nil || int(want) != sum {
		return nil
	}
	name, _, _ := strings.Cut(string(head[:100]), "\x00")
	if strings.HasSuffix(strings.ToLower(name), ".ovf") {
		return &candidate{format: OVA}
	}
	return &candidate{format: Tar}
}
