package qcow2

// windowSize is how much of the disk is read, unpacked and written as one. Windows begin at multiples of it, so a cluster
// is never in two of them.
const windowSize = 4 << 20

// segment is a part of a window that has data.
type segment struct {
	at, n  int   // place in the window; for compressed data n is always a whole cluster
	host   int64 // place in the source
	packed int64 // most bytes of the compressed data; 0 when it is not compressed
}

// window is a piece of the disk on its way to the sink.
type window struct {
	start    int64 // on the disk
	n        int   // bytes of disk
	segments []segment
	buf      []byte     // the bytes of disk, once filled; allocated when first needed
	filled   chan error // gets the outcome of filling it
}

// add appends a segment, joining plain ones that follow each other in the source too.
func (w *window) add(s segment) {
	if last := len(w.segments) - 1; last >= 0 && s.packed == 0 {
		l := &w.segments[last]
		if l.packed == 0 && l.at+l.n == s.at && l.host+int64(l.n) == s.host {
			l.n += s.n
			return
		}
	}
	w.segments = append(w.segments, s)
}
