package inspect

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// Images made by hand, so that attacks can be made of them and no other program is needed.

var (
	be = binary.BigEndian
	le = binary.LittleEndian
)

// patched returns a copy of data with bytes at an offset replaced; it grows when needed.
func patched(data []byte, at int, with ...byte) []byte {
	out := bytes.Clone(data)
	if need := at + len(with); need > len(out) {
		out = append(out, make([]byte, need-len(out))...)
	}
	copy(out[at:], with)
	return out
}

func be32(v uint32) []byte { return be.AppendUint32(nil, v) }
func be64(v uint64) []byte { return be.AppendUint64(nil, v) }
func le32(v uint32) []byte { return le.AppendUint32(nil, v) }
func le64(v uint64) []byte { return le.AppendUint64(nil, v) }

// qcow2Image returns an empty qcow2 of version 3.
func qcow2Image(size uint64) []byte {
	p := make([]byte, 4<<16)
	copy(p, "QFI\xfb")
	be.PutUint32(p[4:], 3)
	be.PutUint32(p[20:], 16)
	be.PutUint64(p[24:], size)
	be.PutUint32(p[36:], 1)
	be.PutUint64(p[40:], 3<<16)
	be.PutUint64(p[48:], 1<<16)
	be.PutUint32(p[56:], 1)
	be.PutUint32(p[96:], 4)
	be.PutUint32(p[100:], 112)
	return p
}

const descriptorText = `# Disk DescriptorFile
version=1
CID=12345678
parentCID=ffffffff
createType="streamOptimized"

# Extent description
RW 8192 SPARSE "disk.vmdk"

# The Disk Data Base
#DDB
ddb.virtualHWVersion = "4"
`

// vmdkImage returns a VMDK with a descriptor and, when wanted, a footer.
func vmdkImage(descriptor string, footer bool) []byte {
	header := make([]byte, sector)
	copy(header, vmdkSparse)
	le.PutUint32(header[4:], 3)
	le.PutUint32(header[8:], 0x30001)
	le.PutUint64(header[12:], 8192)
	le.PutUint64(header[20:], 128)
	le.PutUint64(header[28:], 1)
	le.PutUint64(header[36:], 20)
	le.PutUint32(header[44:], 512)
	le.PutUint64(header[56:], 30)
	copy(header[73:], "\n \r\n")
	le.PutUint16(header[77:], 1)
	p := patched(header, sector, []byte(descriptor)...)
	p = patched(p, 256*sector-1, 0)
	if !footer {
		return p
	}
	le.PutUint64(p[56:], vmdkAtEnd)
	marker := make([]byte, sector)
	le.PutUint64(marker, 1)
	le.PutUint32(marker[12:], vmdkFooterMark)
	p = append(append(p, marker...), header...)
	return append(p, make([]byte, sector)...)
}

// vhdFoot returns the footer of a VHD.
func vhdFoot(kind uint32, size uint64) []byte {
	p := make([]byte, sector)
	copy(p, vhdCookie)
	be.PutUint32(p[8:], 2)
	be.PutUint32(p[12:], vhdVersion)
	be.PutUint64(p[16:], sector)
	be.PutUint64(p[40:], size)
	be.PutUint64(p[48:], size)
	be.PutUint32(p[60:], kind)
	return summed(p, 64)
}

// summed returns p with its checksum at an offset.
func summed(p []byte, at int) []byte {
	be.PutUint32(p[at:], vhdSum(p, at))
	return p
}

// vhdHeader returns the header of a dynamic VHD of 2 MiB blocks, with bytes replaced.
func vhdHeader(entries uint32, at int, with ...byte) []byte {
	p := make([]byte, vhdDynamicSize)
	copy(p, "cxsparse")
	be.PutUint64(p[16:], 3*sector)
	be.PutUint32(p[24:], vhdVersion)
	be.PutUint32(p[28:], entries)
	be.PutUint32(p[32:], 2<<20)
	copy(p[at:], with)
	return summed(p, 36)
}

func vhdImage(kind uint32, header []byte) []byte {
	foot := vhdFoot(kind, 8<<20)
	p := append(bytes.Clone(foot), header...)
	return append(append(p, make([]byte, 100<<10)...), foot...)
}

// item is an item of VHDX metadata.
type item struct {
	id     guid
	at     uint32
	length uint32
	flags  uint32
}

var vhdxItemsOfDisk = []item{{vhdxFile, 64 << 10, 8, 4}, {vhdxSize, 64<<10 + 8, 8, 6}, {vhdxPage83, 64<<10 + 16, 16, 6}}

// vhdxImage returns a VHDX of 8 MiB with the metadata at 2 MiB.
func vhdxImage(items []item, change func(p []byte)) []byte {
	const metadata = 2 << 20
	p := make([]byte, 3<<20)
	copy(p, "vhdxfile")
	le.PutUint64(p[metadata+64<<10:], 8<<20) // block size, no flags
	le.PutUint64(p[metadata+64<<10+8:], 8<<20)
	copy(p[metadata:], "metadata")
	le.PutUint16(p[metadata+10:], uint16(len(items)))
	for i, it := range items {
		e := p[metadata+32+32*i:]
		copy(e, it.id[:])
		le.PutUint32(e[16:], it.at)
		le.PutUint32(e[20:], it.length)
		le.PutUint32(e[24:], it.flags)
	}
	table := p[vhdxTable1:]
	copy(table, "regi")
	le.PutUint32(table[8:], 2)
	copy(table[16:], vhdxBAT[:])
	le.PutUint64(table[32:], 1<<20)
	le.PutUint32(table[40:], 1<<20)
	le.PutUint32(table[44:], 1)
	copy(table[48:], vhdxMetadata[:])
	le.PutUint64(table[64:], metadata)
	le.PutUint32(table[72:], 1<<20)
	le.PutUint32(table[76:], 1)
	if change != nil {
		change(p)
	}
	vhdxSeal(p)
	copy(p[vhdxTable2:], p[vhdxTable1:vhdxTable1+vhdxTable])
	return p
}

func vhdxSeal(p []byte) {
	table := p[vhdxTable1 : vhdxTable1+vhdxTable]
	le.PutUint32(table[4:], 0)
	le.PutUint32(table[4:], crc32.Checksum(table, crc32.MakeTable(crc32.Castagnoli)))
}

func vdiImage(kind uint32) []byte {
	p := make([]byte, 2<<20)
	copy(p, "<<< Oracle VM VirtualBox Disk Image >>>\n")
	le.PutUint32(p[0x40:], vdiMagic)
	le.PutUint32(p[0x44:], vdiVersion)
	le.PutUint32(p[0x48:], 0x190)
	le.PutUint32(p[0x4c:], kind)
	le.PutUint32(p[0x154:], 512)
	le.PutUint32(p[0x158:], 1024)
	le.PutUint32(p[0x168:], 512)
	le.PutUint64(p[0x170:], 8<<20)
	le.PutUint32(p[0x178:], 1<<20)
	le.PutUint32(p[0x180:], 8)
	return p
}

func isoImage() []byte {
	return patched(make([]byte, 100<<10), 16*2048, append([]byte{1}, "CD001\x01"...)...)
}

// mbrDisk returns a disk with one partition of a type that begins at a sector.
func mbrDisk(kind byte, first uint32) []byte {
	p := make([]byte, 100<<10)
	p[450] = kind
	le.PutUint32(p[454:], first)
	le.PutUint32(p[458:], 100)
	p[510], p[511] = 0x55, 0xaa
	return p
}

func gptDisk() []byte {
	p := mbrDisk(0xee, 1)
	copy(p[512:], "EFI PART")
	le.PutUint32(p[512+12:], 92)
	le.PutUint32(p[512+80:], 128)
	le.PutUint32(p[512+84:], 128)
	return p
}

func luks1Disk() []byte {
	p := make([]byte, 100<<10)
	copy(p, "LUKS\xba\xbe\x00\x01")
	be.PutUint32(p[104:], 100)
	be.PutUint32(p[108:], 32)
	be.PutUint32(p[208:], 0x00ac71f3)
	be.PutUint32(p[248:], 8)
	return p
}

func luks2Disk() []byte {
	p := make([]byte, 100<<10)
	copy(p, "LUKS\xba\xbe\x00\x02")
	be.PutUint64(p[8:], 16384)
	return p
}

// tarFile returns a tar archive with one member.
func tarFile(name string) []byte {
	p := make([]byte, 10240)
	copy(p, name)
	copy(p[100:], "0000644\x000000000\x000000000\x0000000000000\x0000000000000\x00        0")
	copy(p[257:], "ustar\x0000")
	sum := 0
	for _, b := range p[:512] {
		sum += int(b)
	}
	copy(p[148:], fmt.Sprintf("%06o\x00 ", sum))
	return p
}
