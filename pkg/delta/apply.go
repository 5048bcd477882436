package delta

import (
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// ReasonCorrupt is the reason of a delta that no encoder has made, or not for this base.
const ReasonCorrupt = "DELTA_CORRUPT"

const (
	// gap and most say which copies are read together: those no further apart, up to so many bytes.
	gap  = 64 << 10
	most = 1 << 20
	// maxOffset bounds places in the base.
	maxOffset = 1 << offsetBits
)

var decoder = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderMaxMemory(manifest.ChunkSize), zstd.WithDecoderMaxWindow(manifest.ChunkSize),
		zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderLowmem(true))
})

// Apply puts the chunk that a delta describes together in chunk, whose length is that of the chunk. It reads the base in few,
// longer pieces, in the order of their places, and takes up to a chunk of memory besides. Errors: Corrupt (ReasonCorrupt), and
// those of reading the base. The caller compares the result with the digest of the chunk.
func Apply(chunk, delta []byte, base io.ReaderAt) error {
	spans, rest, lits, err := parse(delta, len(chunk))
	if err != nil {
		return err
	}
	literals, err := inflate(rest, lits)
	if err != nil {
		return err
	}
	at := 0
	for _, s := range spans {
		n := copy(chunk[at:s.at], literals)
		literals, at = literals[n:], s.at+s.n
	}
	copy(chunk[at:], literals)
	return fill(chunk, spans, base)
}

func corrupt(what string) error {
	return fault.New(fault.Corrupt, ReasonCorrupt, "delta: %s", what)
}

// parse reads the copies of a delta for a chunk of size bytes, and returns the literals as they are stored and how many
// there must be.
func parse(b []byte, size int) (spans []span, rest []byte, lits int, err error) {
	count, b, ok := number(b)
	if !ok || count > uint64(size/minCopy) {
		return nil, nil, 0, corrupt("the number of its copies is wrong")
	}
	spans = make([]span, 0, count)
	at, end := 0, int64(0)
	for range count {
		var skip, n uint64
		skip, b, ok = number(b)
		if ok {
			n, b, ok = number(b)
		}
		step, m := binary.Varint(b)
		if !ok || m <= 0 || n < minCopy || skip > uint64(size-at) || n > uint64(size-at)-skip {
			return nil, nil, 0, corrupt("a copy does not fit into the chunk")
		}
		b = b[m:]
		if step < -maxOffset || step > maxOffset || end+step < 0 || end+step+int64(n) > maxOffset {
			return nil, nil, 0, corrupt("a copy comes from outside of the base")
		}
		s := span{at: at + int(skip), n: int(n), from: end + step}
		spans = append(spans, s)
		lits += int(skip)
		at, end = s.at+s.n, s.from+int64(s.n)
	}
	return spans, b, lits + size - at, nil
}

func number(b []byte) (uint64, []byte, bool) {
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, nil, false
	}
	return v, b[n:], true
}

// inflate returns n literal bytes.
func inflate(b []byte, n int) ([]byte, error) {
	switch {
	case n == 0 && len(b) == 0:
		return nil, nil
	case n == 0 || len(b) == 0:
		return nil, corrupt("its literal bytes are cut, or there are too many")
	case b[0] == plain && len(b)-1 == n:
		return b[1:], nil
	case b[0] != zstded:
		return nil, corrupt("its literal bytes have an unknown form")
	}
	dec, err := decoder()
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "ZSTD", "cannot start the zstd decoder")
	}
	out, err := dec.DecodeAll(b[1:], make([]byte, 0, n))
	if err != nil || len(out) != n {
		return nil, corrupt("its literal bytes cannot be decompressed")
	}
	return out, nil
}

// fill reads the copies from the base.
func fill(chunk []byte, spans []span, base io.ReaderAt) error {
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	var buf []byte
	for len(spans) > 0 {
		first, n := spans[0].from, 1
		end := first + int64(spans[0].n)
		for n < len(spans) && spans[n].from <= end+gap && max(end, spans[n].from+int64(spans[n].n))-first <= most {
			end = max(end, spans[n].from+int64(spans[n].n))
			n++
		}
		if n == 1 {
			if err := read(base, chunk[spans[0].at:spans[0].at+spans[0].n], first); err != nil {
				return err
			}
		} else {
			buf = slices.Grow(buf[:0], int(end-first))[:end-first]
			if err := read(base, buf, first); err != nil {
				return err
			}
			for _, s := range spans[:n] {
				copy(chunk[s.at:s.at+s.n], buf[s.from-first:])
			}
		}
		spans = spans[n:]
	}
	return nil
}

// read fills p from the base.
func read(base io.ReaderAt, p []byte, offset int64) error {
	n, err := base.ReadAt(p, offset)
	switch {
	case n == len(p):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return corrupt("a copy comes from behind the end of the base")
	default:
		return err
	}
}
