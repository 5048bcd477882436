package qemu

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/atoll-dcn/atoll/hub/internal/convert"
)

// sector is the unit in which qemu-img counts.
const sector = 512

// mark is what follows the disk. Its content does not matter as long as it is not zero.
var mark = bytes.Repeat([]byte("atollend"), sector/8)

// errOrder is what the disk says to writes that are not what qemu-img should do.
var errOrder = errors.New("qemu-img writes out of order")

// disk is the target of a conversion: size bytes, rounded up to sectors, and the mark. It hands what is written to a sink, in
// order, with zeroes for the gaps. Only one goroutine may use it.
type disk struct {
	sink   convert.Sink
	size   int64
	done   int64 // bytes that the sink has
	zeroes int64 // bytes behind them that are known to be zero
	marked bool
	failed error // of the sink
}

// end returns where the mark belongs.
func (d *disk) end() int64 { return (d.size + sector - 1) / sector * sector }

// WriteAt implements nbd.Writer.
func (d *disk) WriteAt(p []byte, off int64) (int, error) {
	if off >= d.end() {
		if d.marked || off > d.end() || !bytes.Equal(p, mark) {
			return 0, fmt.Errorf("%w: %d bytes behind the end", errOrder, len(p))
		}
		d.marked = true
		return len(p), d.flush(d.size)
	}
	if err := d.skip(off, int64(len(p))); err != nil {
		return 0, err
	}
	if err := d.flush(min(off, d.size)); err != nil {
		return 0, err
	}
	if data := p[:min(int64(len(p)), d.size-d.done)]; len(data) > 0 {
		if _, err := d.sink.Write(data); err != nil {
			d.failed = err
			return 0, err
		}
		d.done += int64(len(data))
	}
	return len(p), nil
}

// ZeroAt implements nbd.Writer.
func (d *disk) ZeroAt(n, off int64) error {
	if err := d.skip(off, n); err != nil {
		return err
	}
	d.zeroes = off + n - d.done
	return nil
}

// skip checks that a write of n bytes at off comes next, or leaves a gap, and is inside of the disk.
func (d *disk) skip(off, n int64) error {
	if d.marked || off < d.done+d.zeroes || n > d.end()-off {
		return fmt.Errorf("%w: %d bytes at %d, after %d", errOrder, n, off, d.done+d.zeroes)
	}
	return nil
}

// flush gives the sink zeroes up to an offset.
func (d *disk) flush(to int64) error {
	d.zeroes = 0
	n := to - d.done
	if n <= 0 {
		return nil
	}
	if err := d.sink.Zero(n); err != nil {
		d.failed = err
		return err
	}
	d.done = to
	return nil
}

// whole reports whether the disk was written to its end.
func (d *disk) whole() bool { return d.marked && d.done == d.size }
