package osinfo

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// Limits of partition tables.
const (
	maxPartitions = 128
	maxEntry      = 1024 // bytes of an entry of a GPT
	mbrTable      = 446
)

var le, be = binary.LittleEndian, binary.BigEndian

// volumes returns the places of a disk where a file system may be: the whole disk, and its partitions.
func volumes(disk view) ([]view, error) {
	places := []view{disk}
	if !disk.has(0, 512) {
		return nil, errNotFound
	}
	mbr, err := disk.read(0, 512)
	if err != nil {
		return nil, err
	}
	if mbr[510] != 0x55 || mbr[511] != 0xaa {
		return places, nil
	}
	for i := range 4 {
		if mbr[mbrTable+16*i+4] == 0xee {
			parts, err := gpt(disk)
			return append(places, parts...), err
		}
	}
	if blank(mbr[:11]) && blank(mbr[mbrTable:510]) {
		return places, nil
	}
	parts, err := primary(disk, mbr)
	return append(places, parts...), err
}

func blank(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// entry is one of an MBR, or of the boot record of a logical partition.
type entry struct {
	status, kind  byte
	start, length int64 // sectors of 512 bytes
}

func entryAt(sector []byte, i int) entry {
	e := sector[mbrTable+16*i:]
	return entry{status: e[0], kind: e[4], start: int64(le.Uint32(e[8:])), length: int64(le.Uint32(e[12:]))}
}

// used reports whether the entry describes a partition.
func (e entry) used() bool { return e.kind != 0 && e.length != 0 }

// extended reports whether the entry holds logical partitions.
func (e entry) extended() bool { return e.kind == 0x05 || e.kind == 0x0f || e.kind == 0x85 }

// primary reads the partitions of an MBR. The boot sector of a file system ends like an MBR, so its table counts only
// when it looks like one.
func primary(disk view, mbr []byte) (parts []view, err error) {
	for i := range 4 {
		e := entryAt(mbr, i)
		if e.status&0x7f != 0 {
			return nil, nil // no table
		}
		if !e.used() {
			continue
		}
		p, err := disk.part(e.start*512, e.length*512)
		if err != nil || e.start == 0 {
			return nil, unsure("a table with impossible partitions")
		}
		if !e.extended() {
			parts = append(parts, p)
			continue
		}
		inner, err := logical(disk, p, e.start)
		if err != nil {
			return nil, err
		}
		parts = append(parts, inner...)
	}
	return parts, nil
}

// logical follows the chain of boot records in an extended partition that begins at the sector base of the disk.
func logical(disk, extended view, base int64) (parts []view, err error) {
	at := int64(0) // sectors from base
	for range maxPartitions {
		b, err := extended.read(at*512, 512)
		if err != nil {
			return nil, err
		}
		if b[510] != 0x55 || b[511] != 0xaa {
			return nil, unsure("a boot record without a signature")
		}
		if e := entryAt(b, 0); e.used() {
			p, err := disk.part((base+at+e.start)*512, e.length*512)
			if err != nil {
				return nil, err
			}
			parts = append(parts, p)
		}
		next := entryAt(b, 1)
		if !next.used() {
			return parts, nil
		}
		if next.start <= at {
			return nil, unsure("a chain of boot records that goes back")
		}
		at = next.start
	}
	return nil, unsure("too many partitions")
}

// gpt reads the partitions of a GUID partition table (UEFI 2.10, 5.3), whose checksums must be right.
func gpt(disk view) ([]view, error) {
	for _, sector := range []int64{512, 4096} {
		if !disk.has(sector, 512) {
			continue
		}
		h, err := disk.read(sector, 512)
		if err != nil {
			return nil, err
		}
		if string(h[:8]) == "EFI PART" {
			return gptEntries(disk, h, sector)
		}
	}
	return nil, unsure("a protective MBR without a GPT")
}

func gptEntries(disk view, h []byte, sector int64) (parts []view, err error) {
	size, want := int64(le.Uint32(h[12:])), le.Uint32(h[16:])
	if size < 92 || size > 512 {
		return nil, unsure("a GPT of an impossible size")
	}
	clear(h[16:20])
	if crc32.ChecksumIEEE(h[:size]) != want {
		return nil, unsure("a GPT with a wrong checksum")
	}
	table, count, width := le.Uint64(h[72:]), int64(le.Uint32(h[80:])), int64(le.Uint32(h[84:]))
	if count < 1 || count > maxPartitions || width < 128 || width > maxEntry || table > uint64(disk.size)/uint64(sector) {
		return nil, unsure("a GPT with impossible entries")
	}
	b, err := disk.read(int64(table)*sector, count*width)
	if err != nil {
		return nil, err
	}
	if crc32.ChecksumIEEE(b) != le.Uint32(h[88:]) {
		return nil, unsure("entries of a GPT with a wrong checksum")
	}
	for e := b; len(e) > 0; e = e[width:] {
		if blank(e[:16]) {
			continue
		}
		first, last := le.Uint64(e[32:]), le.Uint64(e[40:])
		if last < first || last >= uint64(disk.size)/uint64(sector) {
			return nil, unsure("a GPT with impossible partitions")
		}
		p, err := disk.part(int64(first)*sector, int64(last-first+1)*sector)
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	return parts, nil
}
