package sketch

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// The form on disk, all numbers big endian:
//
//	"atollsk1", u32 block size, u32 most hashes, u32 number of hashes, u64 per hash in ascending order, u32 CRC-32C of all before
//
// A sketch made with other blocks or sizes cannot be compared and is refused; the same goes for other ways to hash, which get
// another magic.
const (
	magic      = "atollsk1"
	headerSize = len(magic) + 12
	sumSize    = 4
)

// MaxEncoded is the length of the longest encoded sketch in bytes.
const MaxEncoded = headerSize + 8*Size + sumSize

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Encode returns the form of a sketch on disk.
func (s *Sketch) Encode() []byte {
	b := append(make([]byte, 0, headerSize+8*len(s.hashes)+sumSize), magic...)
	b = binary.BigEndian.AppendUint32(b, BlockSize)
	b = binary.BigEndian.AppendUint32(b, Size)
	b = binary.BigEndian.AppendUint32(b, uint32(len(s.hashes))) //nolint:gosec // at most Size
	for _, h := range s.hashes {
		b = binary.BigEndian.AppendUint64(b, h)
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// Decode returns the sketch that Encode has made b of; Corrupt (BAD_SKETCH) when it has not.
func Decode(b []byte) (*Sketch, error) {
	if len(b) < headerSize+sumSize || len(b) > MaxEncoded || string(b[:len(magic)]) != magic {
		return nil, corrupt("bad header")
	}
	body, sum := b[:len(b)-sumSize], b[len(b)-sumSize:]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(sum) {
		return nil, corrupt("bad checksum")
	}
	head, rest := body[len(magic):headerSize], body[headerSize:]
	if binary.BigEndian.Uint32(head) != BlockSize || binary.BigEndian.Uint32(head[4:]) != Size {
		return nil, corrupt("made with other blocks")
	}
	if uint64(len(rest)) != 8*uint64(binary.BigEndian.Uint32(head[8:])) {
		return nil, corrupt("bad length")
	}
	s := &Sketch{hashes: make([]uint64, 0, len(rest)/8)}
	for ; len(rest) > 0; rest = rest[8:] {
		h := binary.BigEndian.Uint64(rest)
		if n := len(s.hashes); n > 0 && h <= s.hashes[n-1] {
			return nil, corrupt("not in order")
		}
		s.hashes = append(s.hashes, h)
	}
	return s, nil
}

func corrupt(what string) error {
	return fault.New(fault.Corrupt, "BAD_SKETCH", "sketch: %s", what)
}
