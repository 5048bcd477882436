package qcow2

import (
	"encoding/binary"
	"errors"

	"github.com/klauspost/compress/zstd"
)

// Numbers of the zstd frame format, RFC 8878 section 3.1.1.
const (
	blockHeader  = 3
	blockRLE     = 1
	blockInvalid = 3
	checksumSize = 4
)

var errFrame = errors.New("not a zstd frame")

// frames unpacks zstd frames.
type frames struct {
	decoder *zstd.Decoder
}

// newFrames returns an unpacker that needs no goroutine and no more memory than the largest block of a frame.
func newFrames() (unpacker, error) {
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, err
	}
	return &frames{decoder: decoder}, nil
}

// unpack decodes frames until the cluster is full, which has to be at the end of one.
func (f *frames) unpack(to, from []byte) error {
	for done := 0; done < len(to); {
		length, err := frameLength(from)
		if err != nil {
			return err
		}
		out, err := f.decoder.DecodeAll(from[:length], to[done:done:len(to)])
		if err != nil {
			return err
		}
		done, from = done+len(out), from[length:]
	}
	return nil
}

// frameLength returns the length of the frame that the data begins with. What follows it may be anything, so it cannot be left to
// the decoder.
func frameLength(p []byte) (int, error) {
	var h zstd.Header
	if err := h.Decode(p); err != nil {
		return 0, err
	}
	if h.Skippable {
		return 0, errFrame
	}
	for at := h.HeaderSize; at+blockHeader <= len(p); {
		block := uint32(p[at]) | uint32(binary.LittleEndian.Uint16(p[at+1:]))<<8
		last, kind, size := block&1 != 0, block>>1&3, int(block>>3)
		switch kind {
		case blockRLE:
			size = 1
		case blockInvalid:
			return 0, errFrame
		}
		at += blockHeader + size
		if last && h.HasCheckSum {
			at += checksumSize
		}
		if last && at <= len(p) {
			return at, nil
		}
		if last {
			break
		}
	}
	return 0, errFrame
}
