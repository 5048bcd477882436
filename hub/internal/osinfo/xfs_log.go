package osinfo

// The log is a ring of records in sectors of 512 bytes. Every sector begins with the number of the round in which it was written; in
// a record's head that is the second word. A file system that was unmounted has a record at the end that says so, and then nothing
// waits in the log that is not in its place.

const (
	logMagic   = 0xfeedbabe
	logHead    = 32 << 10 // bytes of a record whose sectors one head sector lists
	logBack    = 1024     // sectors from the end of the log within which the last record begins
	logUnmount = 0x20     // flag of an operation
)

// xfsLog is the log of an XFS.
type xfsLog struct {
	x       *xfs
	start   uint64 // block of the file system
	sectors int64
}

// clean returns nil when the log needs no replay.
func (l xfsLog) clean() error {
	if l.start == 0 || l.sectors < 2 || l.sectors > 4<<30/512 {
		return unsure("a log elsewhere, or of an impossible size")
	}
	end, err := l.end()
	if err != nil {
		return err
	}
	for back := int64(1); back <= min(logBack, end); back++ {
		s, err := l.sector(end - back)
		if err != nil {
			return err
		}
		if be.Uint32(s) == logMagic {
			return l.unmounted(s, end-back, end)
		}
	}
	return unsure("a log without an end")
}

// sector returns the sector at a place of the ring.
func (l xfsLog) sector(n int64) ([]byte, error) {
	off := n * 512
	at := l.start + uint64(off/l.x.block)
	return l.x.at(at>>l.x.agLog, at&(1<<l.x.agLog-1), off%l.x.block, 512)
}

// round returns the number of the round in which a sector was written.
func (l xfsLog) round(n int64) (uint32, error) {
	s, err := l.sector(n)
	if err != nil {
		return 0, err
	}
	if r := be.Uint32(s); r != logMagic {
		return r, nil
	}
	return be.Uint32(s[4:]), nil
}

// end returns the place behind the last sector written: where the sectors of the latest round end.
func (l xfsLog) end() (int64, error) {
	first, err := l.round(0)
	if err != nil {
		return 0, err
	}
	lo, hi := int64(0), l.sectors // round(lo) is first, round(hi) is not, or hi is the end
	for hi-lo > 1 {
		mid := lo + (hi-lo)/2
		r, err := l.round(mid)
		if err != nil {
			return 0, err
		}
		if r == first {
			lo = mid
		} else {
			hi = mid
		}
	}
	return hi, nil
}

// unmounted returns nil when the record at a place, whose head is h, says that the file system was unmounted, and is the last one.
func (l xfsLog) unmounted(h []byte, at, end int64) error {
	heads, size := int64(1), int64(be.Uint32(h[320:]))
	if be.Uint32(h[8:]) == 2 && size > logHead {
		heads = (size + logHead - 1) / logHead
	}
	if be.Uint32(h[40:]) != 1 || at+heads+(int64(be.Uint32(h[12:]))+511)/512 != end {
		return unsure("an XFS that was not unmounted")
	}
	op, err := l.sector(at + heads)
	if err != nil {
		return err
	}
	if op[9]&logUnmount == 0 {
		return unsure("an XFS that was not unmounted")
	}
	return nil
}
