// Package frame encodes chunks for transfer and moves them over HTTP/1.1: the encoding, the digest, the client that
// agents use and the handler that the hub serves.
//
// A frame is a header of 16 bytes and a payload. The digest of a chunk is taken over its raw bytes, so it does not
// depend on the encoding. Frames are immutable and may come from anybody: whoever receives one checks its digest
// against the manifest.
package frame

import (
	"bytes"
	"encoding/binary"

	"github.com/zeebo/blake3"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// The frame header, all numbers big endian: "atf1", u8 codec, 3 zero bytes, u32 raw length, u32 payload length.
const (
	magic = "atf1"

	// HeaderSize is the length of a frame's header in bytes.
	HeaderSize = 16
	// MaxSize is the length of the longest frame in bytes: a whole chunk, not compressed.
	MaxSize = HeaderSize + manifest.ChunkSize
)

// Codec says how the payload of a frame is encoded.
type Codec byte

// The codecs.
const (
	Raw  Codec = 0 // the bytes of the chunk
	Zstd Codec = 1 // one zstd frame, shorter than the chunk
	// Delta is what package delta makes of the chunk and of a base that sender and receiver know.
	Delta Codec = 2
)

// Header is the decoded header of a frame.
type Header struct {
	Codec   Codec
	Raw     int // length of the chunk in bytes, 1 to manifest.ChunkSize
	Payload int // length of the payload in bytes, 1 to Raw
}

// Size returns the length of the whole frame in bytes.
func (h Header) Size() int { return HeaderSize + h.Payload }

// Append appends the encoded header to dst.
func (h Header) Append(dst []byte) []byte {
	dst = append(dst, magic...)
	dst = append(dst, byte(h.Codec), 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(h.Raw))
	return binary.BigEndian.AppendUint32(dst, uint32(h.Payload))
}

// ParseHeader decodes the header at the start of b. It returns a Corrupt error when b is shorter than a header or the
// header breaks any rule.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderSize || string(b[:4]) != magic || b[5]|b[6]|b[7] != 0 {
		return Header{}, corrupt("bad header")
	}
	raw, payload := binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])
	if raw < 1 || raw > manifest.ChunkSize || payload < 1 || payload > raw {
		return Header{}, corrupt("bad length")
	}
	h := Header{Codec: Codec(b[4]), Raw: int(raw), Payload: int(payload)}
	switch {
	case h.Codec == Raw && h.Payload == h.Raw, (h.Codec == Zstd || h.Codec == Delta) && h.Payload < h.Raw:
		return h, nil
	default:
		return Header{}, corrupt("unknown codec, or one that does not fit the lengths")
	}
}

// Sum returns the digest of a chunk's raw bytes: BLAKE3-256. It is also the sum of a manifest's root digest. It does not
// look for zeroes; see ChunkDigest.
func Sum(raw []byte) manifest.Digest { return blake3.Sum256(raw) }

// ChunkDigest returns the digest that stands for a chunk in a manifest: the zero digest for zeroes only, else Sum.
func ChunkDigest(raw []byte) manifest.Digest {
	if IsZero(raw) {
		return manifest.Digest{}
	}
	return Sum(raw)
}

var zeroes [64 << 10]byte

// IsZero reports whether b holds zeroes only.
func IsZero(b []byte) bool {
	for len(b) > len(zeroes) {
		if !bytes.Equal(b[:len(zeroes)], zeroes[:]) {
			return false
		}
		b = b[len(zeroes):]
	}
	return bytes.Equal(b, zeroes[:len(b)])
}

// Verify returns a Corrupt error unless raw is the chunk with the digest want.
func Verify(raw []byte, want manifest.Digest) error {
	if Sum(raw) != want {
		return fault.New(fault.Corrupt, ReasonCorrupt, "frame: the chunk differs from its digest")
	}
	return nil
}

// ReasonCorrupt is the reason of the Corrupt error about a frame that is malformed or differs from its digest.
const ReasonCorrupt = "CORRUPT_FRAME"

func corrupt(what string) error {
	return fault.New(fault.Corrupt, ReasonCorrupt, "frame: %s", what)
}
