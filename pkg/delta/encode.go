package delta

import (
	"encoding/binary"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// span is a part of a chunk that is in the base.
type span struct {
	at   int   // where in the chunk
	n    int   // bytes
	from int64 // where in the base
}

// Kinds of literal bytes.
const (
	plain  byte = 0
	zstded byte = 1
)

var encoder = sync.OnceValues(func() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderCRC(false), zstd.WithWindowSize(manifest.ChunkSize))
})

// Encoder encodes chunks against one base. It is used by one goroutine at a time; several may share an index.
type Encoder struct {
	x     *Index
	w     window
	spans []span
	lits  []byte
}

// NewEncoder returns an encoder for the base that x was made of. It keeps up to 16 MiB of what it reads of the base.
func NewEncoder(x *Index, base io.ReaderAt) *Encoder {
	return &Encoder{x: x, w: window{base: base, kept: map[int64][]byte{}}}
}

// Encode appends the delta of a chunk of 1 to manifest.ChunkSize bytes to dst. It may be longer than the chunk; the caller compares.
// Errors are those of reading the base, which may have changed since it was indexed: then the delta is longer, never
// wrong.
func (e *Encoder) Encode(dst, chunk []byte) ([]byte, error) {
	if len(chunk) < 1 || len(chunk) > manifest.ChunkSize {
		return dst, fault.New(fault.Invalid, "BAD_CHUNK", "a chunk has 1 to %d bytes, not %d", manifest.ChunkSize, len(chunk))
	}
	spans, err := e.match(chunk)
	if err != nil {
		return dst, err
	}
	dst = binary.AppendUvarint(dst, uint64(len(spans)))
	e.lits = e.lits[:0]
	at, end := 0, int64(0)
	for _, s := range spans {
		dst = binary.AppendUvarint(dst, uint64(s.at-at))
		dst = binary.AppendUvarint(dst, uint64(s.n))
		dst = binary.AppendVarint(dst, s.from-end)
		e.lits = append(e.lits, chunk[at:s.at]...)
		at, end = s.at+s.n, s.from+int64(s.n)
	}
	return appendLiterals(dst, append(e.lits, chunk[at:]...))
}

func appendLiterals(dst, lits []byte) ([]byte, error) {
	if len(lits) == 0 {
		return dst, nil
	}
	enc, err := encoder()
	if err != nil {
		return dst, fault.Wrap(err, fault.Internal, "ZSTD", "cannot start the zstd encoder")
	}
	start := len(dst)
	out := enc.EncodeAll(lits, append(dst, zstded))
	if len(out)-start-1 < len(lits) {
		return out, nil
	}
	return append(append(out[:start], plain), lits...), nil
}
