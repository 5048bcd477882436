package delta

import (
	"encoding/binary"
	"errors"
	"io"
	"math/bits"
)

const (
	pageSize = 128 << 10 // bytes of the base read at once
	pages    = 128       // kept
	// minCopy is the shortest copy that is worth its description.
	minCopy = 48
)

// window keeps what was read of a base.
type window struct {
	base io.ReaderAt
	kept map[int64][]byte
	age  []int64 // page numbers, oldest first
}

// page returns the bytes of the base from offset to the end of its page; none behind the end of the base.
func (w *window) page(offset int64) ([]byte, error) {
	n := offset / pageSize
	p, ok := w.kept[n]
	if !ok {
		if len(w.age) == pages {
			p = w.kept[w.age[0]][:pageSize]
			delete(w.kept, w.age[0])
			w.age = w.age[1:]
		} else {
			p = make([]byte, pageSize)
		}
		m, err := w.base.ReadAt(p, n*pageSize)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		p = p[:m]
		w.kept[n], w.age = p, append(w.age, n)
	}
	if at := offset - n*pageSize; at < int64(len(p)) {
		return p[at:], nil
	}
	return nil, nil
}

// forward returns how many bytes of p are in the base at offset.
func (w *window) forward(p []byte, offset int64) (int, error) {
	n := 0
	for n < len(p) {
		b, err := w.page(offset + int64(n))
		if err != nil || len(b) == 0 {
			return n, err
		}
		m := common(p[n:], b)
		if n += m; m < len(b) {
			return n, nil
		}
	}
	return n, nil
}

// backward returns how many of the last bytes of p are in the base before offset.
func (w *window) backward(p []byte, offset int64) (int, error) {
	n := 0
	for n < len(p) && int64(n) < offset {
		last := offset - int64(n) - 1
		from := last / pageSize * pageSize
		b, err := w.page(from)
		if err != nil {
			return n, err
		}
		before := n
		for i := int(last - from); i >= 0 && n < len(p) && b[i] == p[len(p)-1-n]; i-- {
			n++
		}
		if int64(n-before) <= last-from {
			return n, nil
		}
	}
	return n, nil
}

// common returns how many bytes from the start a and b have in common.
func common(a, b []byte) int {
	most := min(len(a), len(b))
	n := 0
	for ; n+8 <= most; n += 8 {
		if d := binary.LittleEndian.Uint64(a[n:]) ^ binary.LittleEndian.Uint64(b[n:]); d != 0 {
			return n + bits.TrailingZeros64(d)/8
		}
	}
	for n < most && a[n] == b[n] {
		n++
	}
	return n
}

// match returns the copies from which most of a chunk can be put together, in the order of the chunk.
func (e *Encoder) match(chunk []byte) ([]span, error) {
	e.spans = e.spans[:0]
	var h uint64
	covered := 0
	for i := 0; i < len(chunk); i++ {
		h = h<<1 + gear[chunk[i]]
		if h&e.x.mask != e.x.mask || i+1 < reach {
			continue
		}
		best, err := e.best(chunk, covered, i+1, h)
		if err != nil {
			return nil, err
		}
		if best.n < minCopy {
			continue
		}
		e.spans = append(e.spans, best)
		covered = best.at + best.n
		i, h = covered-1, 0
		for _, b := range chunk[max(0, covered-reach):covered] {
			h = h<<1 + gear[b]
		}
	}
	return e.spans, nil
}

// best returns the longest copy around a position of the chunk whose last bytes have a hash. It does not begin before from.
func (e *Encoder) best(chunk []byte, from, at int, hash uint64) (best span, err error) {
	e.x.find(hash, func(offset int64) {
		if err != nil {
			return
		}
		var f, b int
		if f, err = e.w.forward(chunk[at:], offset); err == nil {
			b, err = e.w.backward(chunk[from:at], offset)
		}
		if err == nil && b+f > best.n {
			best = span{at: at - b, n: b + f, from: offset - int64(b)}
		}
	})
	return best, err
}
