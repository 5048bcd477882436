package unpack

import (
	"bytes"
	"encoding/binary"
)

// Compression is a format that data can be compressed with. Its text is how users see it.
type Compression string

// The formats that are unpacked. None means that data is not compressed with any of them.
const (
	None  Compression = ""
	Gzip  Compression = "gzip"
	XZ    Compression = "xz"
	Zstd  Compression = "zstd"
	Bzip2 Compression = "bzip2"
)

// HeadSize is how many bytes Detect wants to see, unless the data is shorter.
const HeadSize = 16

// Detect tells from the first bytes of data what it is compressed with. It asks for as many magic bytes as the formats have,
// because a disk may begin with anything. What the compressed data holds does not matter.
func Detect(head []byte) Compression {
	switch {
	// RFC 1952: ID1 ID2, deflate, and the reserved flags are zero
	case len(head) >= 4 && bytes.HasPrefix(head, []byte{0x1f, 0x8b, 8}) && head[3]&0xe0 == 0:
		return Gzip
	// The .xz File Format 2.1.1: magic bytes, then stream flags whose reserved bits are zero
	case len(head) >= 8 && bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")) && head[6] == 0 && head[7]&0xf0 == 0:
		return XZ
	case isZstd(head):
		return Zstd
	// "BZh", the block size, and the magic bytes of a block or of the end
	case len(head) >= 10 && bytes.HasPrefix(head, []byte("BZh")) && head[3] >= '1' && head[3] <= '9' &&
		(string(head[4:10]) == "1AY&SY" || string(head[4:10]) == "\x17\x72\x45\x38\x50\x90"):
		return Bzip2
	}
	return None
}

const zstdMagic = 0xfd2fb528 // RFC 8878, 3.1.1

// isZstd knows frames, and a short skippable frame before one, which parallel compressors write.
func isZstd(head []byte) bool {
	if len(head) >= 8 && binary.LittleEndian.Uint32(head)&^0xf == 0x184d2a50 {
		n := binary.LittleEndian.Uint32(head[4:])
		head = head[8:]
		if uint64(n) > uint64(len(head)) {
			return false
		}
		head = head[n:]
	}
	return len(head) >= 4 && binary.LittleEndian.Uint32(head) == zstdMagic
}
