// Package manifest describes the content of an image as an ordered list of chunk digests with one root digest over it.
//
// Chunks are 4 MiB, aligned, which is the object size of an RBD image with default order; the last one may be shorter.
// A chunk of zeroes only has the zero Digest and is never sent nor written. The package is pure: hashing is injected.
package manifest

import (
	"encoding/binary"
	"encoding/hex"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// ChunkSize is the length of every chunk but the last, in bytes.
const ChunkSize = 4 << 20

// MaxChunks bounds manifests: 2^24 chunks are 64 TiB.
const MaxChunks = 1 << 24

// MaxLength is the longest content a manifest describes, in bytes.
const MaxLength = int64(MaxChunks) * ChunkSize

// DigestSize is the length of a digest in bytes.
const DigestSize = 32

// Digest is the BLAKE3-256 digest of a chunk, or all zeroes for a chunk of zeroes only.
type Digest [DigestSize]byte

// IsZero reports whether the digest stands for a chunk of zeroes.
func (d Digest) IsZero() bool { return d == Digest{} }

// String returns the digest in hex.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Manifest is the description of one immutable content.
type Manifest struct {
	Length int64    // bytes, at least 1
	Chunks []Digest // one per chunk: len(Chunks) == Count(Length)
}

// Count returns the number of chunks of a content of length bytes.
func Count(length int64) int { return int((length + ChunkSize - 1) / ChunkSize) }

// ChunkLen returns the length in bytes of chunk i of a content of length bytes; 0 if there is no such chunk.
func ChunkLen(length int64, i int) int {
	rest := length - int64(i)*ChunkSize
	switch {
	case i < 0 || rest <= 0:
		return 0
	case rest < ChunkSize:
		return int(rest)
	default:
		return ChunkSize
	}
}

// DataBytes returns the number of bytes in chunks that are not zero.
func (m *Manifest) DataBytes() int64 {
	var n int64
	for i, d := range m.Chunks {
		if !d.IsZero() {
			n += int64(ChunkLen(m.Length, i))
		}
	}
	return n
}

// Check returns a Corrupt error unless the number of chunks fits the length.
func (m *Manifest) Check() error {
	if m.Length < 1 || m.Length > MaxLength {
		return fault.New(fault.Corrupt, "BAD_MANIFEST", "manifest length %d is not between 1 and %d", m.Length, MaxLength)
	}
	if len(m.Chunks) != Count(m.Length) {
		return fault.New(fault.Corrupt, "BAD_MANIFEST", "manifest has %d chunks, its length needs %d", len(m.Chunks), Count(m.Length))
	}
	return nil
}

// Root returns the root digest: sum over a tag, the chunk size, the length and all chunk digests in order.
func (m *Manifest) Root(sum func([]byte) Digest) Digest {
	const tag = "atoll manifest v1\x00"
	b := make([]byte, 0, len(tag)+12+len(m.Chunks)*DigestSize)
	b = append(b, tag...)
	b = binary.BigEndian.AppendUint32(b, ChunkSize)
	b = binary.BigEndian.AppendUint64(b, uint64(m.Length))
	for _, d := range m.Chunks {
		b = append(b, d[:]...)
	}
	return sum(b)
}
