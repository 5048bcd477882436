package frame

import (
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// worthwhile is the largest share of the raw length, in percent, at which a compressed chunk is kept.
const worthwhile = 95

// The zstd coders are shared by the process; each runs in the goroutine of its caller. What they may hold is bounded:
// the window and the decoded size by the size of a chunk.
var (
	encoder = sync.OnceValues(func() (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false),
			zstd.WithWindowSize(manifest.ChunkSize), zstd.WithLowerEncoderMem(true))
	})
	decoder = sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil, zstd.WithDecoderMaxMemory(manifest.ChunkSize), zstd.WithDecoderMaxWindow(manifest.ChunkSize),
			zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderLowmem(true))
	})
)

// Encode appends to dst the frame of a chunk of 1 to manifest.ChunkSize bytes. With Zstd it falls back to Raw when
// compression saves less than a twentieth. A dst with a capacity of MaxSize more bytes is never reallocated.
func Encode(dst, raw []byte, codec Codec) ([]byte, error) {
	if len(raw) < 1 || len(raw) > manifest.ChunkSize {
		return dst, fault.New(fault.Invalid, "BAD_CHUNK", "a chunk has 1 to %d bytes, not %d", manifest.ChunkSize, len(raw))
	}
	if codec == Zstd {
		enc, err := encoder()
		if err != nil {
			return dst, fault.Wrap(err, fault.Internal, "ZSTD", "cannot start the zstd encoder")
		}
		start := len(dst)
		out := enc.EncodeAll(raw, append(dst, make([]byte, HeaderSize)...))
		if n := len(out) - start - HeaderSize; n <= len(raw)/100*worthwhile && n < len(raw) {
			Header{Codec: Zstd, Raw: len(raw), Payload: n}.Append(out[start:start])
			return out, nil
		}
	}
	return append(Header{Codec: Raw, Raw: len(raw), Payload: len(raw)}.Append(dst), raw...), nil
}

// Decode returns the raw bytes of a frame. frame must hold exactly one frame. For a Raw frame the result is part of
// frame; for any other it is written into dst, whose capacity must hold the chunk (manifest.ChunkSize always does).
// Errors: Corrupt when the bytes are not one frame, Invalid when dst is too small.
func Decode(frame, dst []byte) ([]byte, error) {
	h, err := ParseHeader(frame)
	if err != nil {
		return nil, err
	}
	if len(frame) != h.Size() {
		return nil, corrupt("it is cut, or bytes follow its payload")
	}
	payload := frame[HeaderSize:]
	switch {
	case h.Codec == Raw:
		return payload, nil
	case h.Codec == Delta:
		return nil, corrupt("it is of use only to those who have its base")
	}
	if cap(dst) < h.Raw {
		return nil, fault.New(fault.Invalid, "SHORT_BUFFER", "the buffer holds %d bytes, the chunk has %d", cap(dst), h.Raw)
	}
	return inflate(payload, dst[:0:h.Raw])
}

// inflate decodes payload into dst, which it must fill to its capacity exactly.
func inflate(payload, dst []byte) ([]byte, error) {
	dec, err := decoder()
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "ZSTD", "cannot start the zstd decoder")
	}
	out, err := dec.DecodeAll(payload, dst)
	if err != nil {
		return nil, fault.Wrap(err, fault.Corrupt, ReasonCorrupt, "frame: the payload cannot be decompressed")
	}
	if len(out) != cap(dst) {
		return nil, corrupt("the payload has not the length that the header says")
	}
	return out, nil
}
