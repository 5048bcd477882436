package unpack

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/atoll-dcn/atoll/hub/internal/convert"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

// Limits of memory: what the default settings of the compressors need, and what their largest usual settings need.
const (
	MaxXZDictionary = 64 << 20  // bytes; xz -9 asks for as much
	MaxZstdWindow   = 128 << 20 // bytes; zstd refuses more too, unless told --long or --memory
)

// Reasons of errors, besides convert.ReasonDamaged and convert.ReasonTooLarge.
const (
	ReasonMemory      = "COMPRESSION_MEMORY"      // Exhausted: unpacking the data takes more memory than it may
	ReasonUnsupported = "COMPRESSION_UNSUPPORTED" // Invalid: an option of the format that is not known
)

// The read-ahead: chunks that are unpacked while the caller is busy with earlier ones.
const (
	chunkSize = 512 << 10
	chunks    = 8
)

// New returns what the data of r holds, decompressed once: compressed data inside compressed data stays as it is.
//
// It reads r in a goroutine of its own, at most 4 MiB ahead of the reader. Reads block until data comes and end when ctx ends.
// Close ends the goroutine and waits for it; it blocks as long as a read of r does, so what ends ctx must end reads of r too.
// Close does not close r. Neither is for several goroutines at once.
//
// most limits the bytes that come out, and, with a little room for what compression may add, those that go in:
// ReasonTooLarge (Exhausted). ReasonDamaged (Invalid) means that data is cut, damaged, fails its checksum or is followed by
// something else; several compressed streams in a row count as one, and zeroes may follow gzip data, and in fours xz data, as their
// own tools allow. ReasonMemory (Exhausted) and ReasonUnsupported (Invalid) tell of options. Errors of r come as they are.
func New(ctx context.Context, c Compression, r io.Reader, most int64) (io.ReadCloser, error) {
	switch c {
	case Gzip, XZ, Zstd, Bzip2:
	default:
		return nil, fault.New(fault.Invalid, ReasonUnsupported, "%q is no compression that is known", string(c))
	}
	ctx, cancel := context.WithCancel(ctx)
	u := &unpacker{
		ctx: ctx, cancel: cancel, format: c, most: most,
		in:    &input{ctx: ctx, r: r, left: inputLimit(most)},
		ready: make(chan []byte, chunks), free: make(chan []byte, chunks), done: make(chan struct{}),
	}
	for range chunks {
		u.free <- nil // allocated when it is needed
	}
	go u.run()
	return u, nil
}

// inputLimit is how long data may be that holds most bytes: every format adds less than 1/64 to what it cannot compress.
func inputLimit(most int64) int64 {
	const room = 1 << 20
	if most > (1<<63-1-room)/65*64 {
		return 1<<63 - 1
	}
	return most + most/64 + room
}

type unpacker struct {
	ctx    context.Context
	cancel context.CancelFunc
	format Compression
	most   int64
	in     *input

	ready chan []byte   // unpacked chunks; closed at the end
	free  chan []byte   // chunks to fill
	done  chan struct{} // closed when run has ended
	err   error         // why it ended; read after ready is closed

	now  []byte // the chunk being read
	rest []byte // what is left of it
}

// Read returns the next bytes. At the end of the data, which is known to be whole then, it answers io.EOF.
func (u *unpacker) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(u.rest) == 0 {
		if u.now != nil {
			u.free <- u.now[:cap(u.now)] // never blocks: it has a place
			u.now = nil
		}
		select {
		case <-u.ctx.Done():
			return 0, context.Cause(u.ctx)
		case b, ok := <-u.ready:
			if !ok {
				return 0, u.err
			}
			u.now, u.rest = b, b
		}
	}
	n := copy(p, u.rest)
	u.rest = u.rest[n:]
	return n, nil
}

// Close ends the decompression and waits for its goroutine.
func (u *unpacker) Close() error {
	u.cancel()
	<-u.done
	return nil
}

// run unpacks until the end, an error or the end of ctx.
func (u *unpacker) run() {
	defer close(u.done)
	defer close(u.ready)
	defer func() {
		if p := recover(); p != nil { // a bug of a decompressor that this data found
			u.err = fault.Wrap(fmt.Errorf("%w: %v", errPanic, p), fault.Invalid, convert.ReasonDamaged, "the %s data is damaged", u.format)
		}
	}()
	d, err := open(u.format, u.in)
	if err == io.EOF { //nolint:errorlint // not the end: there was no beginning
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		u.err = u.explain(err)
		return
	}
	defer d.close()
	u.err = u.pump(d)
}

// pump moves what d unpacks to ready. It returns io.EOF when all is well.
func (u *unpacker) pump(d decompressor) error {
	for total := int64(0); ; {
		var buf []byte
		select {
		case <-u.ctx.Done():
			return context.Cause(u.ctx)
		case buf = <-u.free:
		}
		if buf == nil {
			buf = make([]byte, chunkSize)
		}
		n, err := fill(u.ctx, d, buf)
		if total += int64(n); total > u.most {
			return fault.New(fault.Exhausted, convert.ReasonTooLarge, "unpacked, the image is larger than the limit of %d bytes", u.most)
		}
		if n > 0 && (err == nil || err == io.EOF) { //nolint:errorlint // the end itself, not an error that holds it
			u.ready <- buf[:n] // never blocks: there are no more chunks than places
		}
		if err != nil {
			return u.explain(err)
		}
	}
}

// errPanic is what is logged when a decompressor broke.
var errPanic = errors.New("panic")

// idleReads is how many reads in a row may bring nothing before a reader counts as broken.
const idleReads = 100

// fill reads until buf is full or d ends.
func fill(ctx context.Context, d io.Reader, buf []byte) (n int, err error) {
	for idle := 0; n < len(buf) && err == nil; {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		var m int
		m, err = d.Read(buf[n:])
		if n += m; m > 0 {
			idle = 0
		} else if idle++; idle == idleReads && err == nil {
			err = io.ErrNoProgress
		}
	}
	return n, err
}
