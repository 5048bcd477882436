package qcow2

import "context"

const (
	groupSize = 1 << 20  // compressed clusters are read together up to that many bytes of the source
	groupGap  = 64 << 10 // and with that many unused bytes between two of them
)

// filler reads windows. It belongs to one goroutine.
type filler struct {
	*Image
	unpacker unpacker
	input    []byte // compressed data
	end      int64  // of the data, once it had to be found
}

// fill reads and unpacks all of a window.
func (f *filler) fill(ctx context.Context, w *window) error {
	if w.buf == nil {
		w.buf = make([]byte, min(windowSize, (f.header.size+f.header.cluster()-1)&^(f.header.cluster()-1)))
	}
	end := 0
	for i := 0; i < len(w.segments); {
		if err := ctx.Err(); err != nil {
			return err
		}
		s := w.segments[i]
		clear(w.buf[end:s.at])
		if s.packed == 0 {
			if err := f.readPlain(w.buf[s.at:s.at+s.n], s.host); err != nil {
				return err
			}
			end = s.at + s.n
			i++
			continue
		}
		group := together(w.segments[i:])
		if err := f.readPacked(w.buf, group); err != nil {
			return err
		}
		i += len(group)
		end = group[len(group)-1].at + s.n
	}
	if end < w.n {
		clear(w.buf[end:w.n])
	}
	return nil
}

// readPlain fills p with data that is not compressed. What is missing of the cluster in which the data ends is zero, if it ends with
// a whole sector.
func (f *filler) readPlain(p []byte, host int64) error {
	n, err := f.readAt(p, host)
	if err != nil || n == len(p) {
		return err
	}
	end := host + int64(n)
	if n == 0 {
		if end, err = f.findEnd(host); err != nil {
			return err
		}
	}
	cluster := f.header.cluster()
	if end%sector != 0 || host+int64(len(p)) > (end+cluster-1)&^(cluster-1) {
		return damaged("the data ends before the clusters at byte %d do", host)
	}
	clear(p[n:])
	return nil
}

// findEnd returns where the data ends, which is not after an offset, or the beginning of the offset's cluster if it ends before.
func (f *filler) findEnd(host int64) (int64, error) {
	start := host &^ (f.header.cluster() - 1)
	if start == host || start < f.end {
		return max(start, f.end), nil
	}
	n, err := f.readAt(make([]byte, host-start), start)
	if n > 0 {
		f.end = start + int64(n)
	}
	return start + int64(n), err
}

// together returns the first segments that are compressed, follow each other on the disk and are near each other in the source.
func together(segments []segment) []segment {
	first := segments[0]
	end := first.host + first.packed
	count := 1
	for ; count < len(segments); count++ {
		s, before := segments[count], segments[count-1]
		if s.packed == 0 || s.at != before.at+before.n || s.host < before.host || s.host > end+groupGap {
			break
		}
		if s.host+s.packed-first.host > groupSize {
			break
		}
		end = max(end, s.host+s.packed)
	}
	return segments[:count]
}

// readPacked reads and unpacks a group of compressed clusters.
func (f *filler) readPacked(buf []byte, group []segment) error {
	start := group[0].host
	var length int64
	for _, s := range group {
		length = max(length, s.host+s.packed-start)
	}
	if int64(cap(f.input)) < length {
		f.input = make([]byte, max(length, min(groupSize, f.header.cluster()*16)))
	}
	input := f.input[:length]
	n, err := f.readAt(input, start)
	if err != nil {
		return err
	}
	if f.unpacker == nil {
		if f.unpacker, err = newUnpacker(f.header.zstd); err != nil {
			return err
		}
	}
	for _, s := range group {
		from := min(s.host-start, int64(n))
		to := min(s.host-start+s.packed, int64(n))
		if err := f.unpacker.unpack(buf[s.at:s.at+s.n:s.at+s.n], input[from:to]); err != nil {
			return damaged("a compressed cluster at byte %d of the data cannot be unpacked", s.host)
		}
	}
	return nil
}
