package unpack

import (
	"bufio"
	"compress/bzip2"
	"context"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"

	"github.com/atoll-dcn/atoll/hub/internal/convert"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

// inputBuffer is how much compressed data is read at once.
const inputBuffer = 64 << 10

// decompressor is what a library offers.
type decompressor struct {
	io.Reader
	close func() // frees what it holds
}

// open returns the decompressor of a format. It may read from in.
func open(c Compression, in *input) (decompressor, error) {
	br := bufio.NewReaderSize(in, inputBuffer)
	d := decompressor{close: func() {}}
	var err error
	switch c {
	case Gzip:
		d.Reader, err = openGzip(br)
	case XZ:
		d.Reader, err = xz.NewReader(br, MaxXZDictionary)
	case Zstd:
		// Concurrency 1: it works in the goroutine that reads, which is one of its own anyway.
		var z *zstd.Decoder
		z, err = zstd.NewReader(br, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(MaxZstdWindow))
		if err == nil {
			d.Reader, d.close = z, z.Close
		}
	default:
		d.Reader = bzip2.NewReader(br)
	}
	return d, err
}

// members reads gzip members in a row, and the zeroes that tapes and block devices leave behind the last one.
type members struct {
	r *bufio.Reader
	z *gzip.Reader
}

func openGzip(r *bufio.Reader) (*members, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	z.Multistream(false)
	return &members{r: r, z: z}, nil
}

// Read reads from the present member, and starts the next one when it has ended.
func (m *members) Read(p []byte) (int, error) {
	for {
		n, err := m.z.Read(p)
		if err == io.EOF { //nolint:errorlint // that is the end of a member; an EOF inside another error is not
			err = m.next()
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// next goes to the next member; io.EOF says that there is none.
func (m *members) next() error {
	b, err := m.r.ReadByte()
	switch {
	case err != nil:
		return err
	case b == 0:
		return m.padding()
	}
	if err := m.r.UnreadByte(); err != nil {
		return err
	}
	if err := m.z.Reset(m.r); err != nil {
		return errors.Join(errTrailing, err)
	}
	m.z.Multistream(false)
	return nil
}

var errTrailing = errors.New("no data of the format follows the end")

// padding reads zeroes to the end of the data.
func (m *members) padding() error {
	for {
		switch b, err := m.r.ReadByte(); {
		case err != nil:
			return err
		case b != 0:
			return errTrailing
		}
	}
}

// explain turns what a decompressor says into an error for users. io.EOF stays.
func (u *unpacker) explain(err error) error {
	damaged := func(format string) error {
		return fault.Wrap(err, fault.Invalid, convert.ReasonDamaged, format, u.format)
	}
	switch {
	case u.in.err != nil:
		return u.in.err
	case u.ctx.Err() != nil:
		return context.Cause(u.ctx)
	case !u.in.any:
		return damaged("the %s data ends before it begins")
	case err == io.EOF: //nolint:errorlint // the end itself
		return err
	case errors.Is(err, errTrailing):
		return damaged("the %s data is followed by something else, which its checksums do not cover")
	case errors.Is(err, xz.ErrMemlimit):
		return fault.New(fault.Exhausted, ReasonMemory,
			"the xz data needs a dictionary of more than %d MiB; compress it with a smaller one", MaxXZDictionary>>20)
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return fault.New(fault.Exhausted, ReasonMemory,
			"the zstd data needs a window of more than %d MiB; compress it with a smaller one", MaxZstdWindow>>20)
	case errors.Is(err, xz.ErrOptions), errors.Is(err, xz.ErrUnsupportedCheck), errors.Is(err, zstd.ErrUnknownDictionary):
		return fault.Wrap(err, fault.Invalid, ReasonUnsupported, "the %s data uses options or a dictionary that are not known", u.format)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, xz.ErrBuf):
		return damaged("the %s data ends too early")
	case errors.Is(err, gzip.ErrChecksum), errors.Is(err, zstd.ErrCRCMismatch):
		return damaged("the %s data does not match its checksum")
	default:
		return damaged("the %s data is damaged, or followed by something else")
	}
}
