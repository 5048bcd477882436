package importer

import (
	"bufio"
	"io"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// ReasonEmpty is the reason of an import whose source has no bytes.
const ReasonEmpty = "EMPTY_IMAGE"

// headSize is how many of the first bytes decide what is done with the data: as many as an inspector wants to know a format.
const headSize = 64 << 10

// intake is the data of a source as it comes. It counts the bytes and compares their number with what was announced.
type intake struct {
	from io.Reader
	a    *arrival
	most int64 // bytes that may come
	// sums, if any, are computed of the bytes while they are read; only of those that are unpacked.
	sums []claim
	n    int64
	err  error // what the last read ended with
}

// Read returns io.EOF only when as many bytes have come as should. The source is not read again after an error.
func (in *intake) Read(p []byte) (int, error) {
	if in.err != nil {
		return 0, in.err
	}
	n, err := in.read(p)
	in.err = err
	return n, err
}

func (in *intake) read(p []byte) (int, error) {
	n, err := in.from.Read(p)
	if n > 0 {
		in.n += int64(n)
		for _, c := range in.sums {
			_, _ = c.hash.Write(p[:n]) // a hash never fails
		}
		in.a.arrive(in.n)
	}
	if bad := in.check(err == io.EOF); bad != nil { //nolint:errorlint // an EOF inside another error tells of a source that broke
		return n, bad
	}
	return n, err
}

// check compares the bytes read so far with what was announced and with the limit.
func (in *intake) check(last bool) error {
	expected := in.a.expected.Load()
	switch {
	case last && in.n == 0:
		return fault.New(fault.Invalid, ReasonEmpty, "the image data is empty")
	case in.n > in.most:
		return tooLarge(in.most)
	case expected > 0 && (in.n > expected || last && in.n < expected):
		return fault.New(fault.Invalid, "SIZE_MISMATCH", "%d bytes were announced, %d or more came", expected, in.n)
	}
	return nil
}

func tooLarge(most int64) error {
	return fault.New(fault.Exhausted, "IMAGE_TOO_LARGE", "the image is larger than the limit of %d bytes", most)
}

// peeking returns a reader of r and its first bytes, headSize at most; what r fails with comes when they have been read.
// It blocks until they have come. all is true when there are no more.
func peeking(r io.Reader) (body *bufio.Reader, head []byte, all bool) {
	body = bufio.NewReaderSize(r, headSize)
	head, err := body.Peek(headSize)
	return body, head, err != nil
}

// idleReads is how many empty reads in a row a source may answer before it counts as broken.
const idleReads = 100

// fill reads until buf is full or the source has ended. Only io.EOF itself is the end: a body that was cut answers
// io.ErrUnexpectedEOF.
func fill(r io.Reader, buf []byte) (n int, last bool, err error) {
	for idle := 0; n < len(buf); {
		m, err := r.Read(buf[n:])
		n += m
		switch {
		case err == io.EOF: //nolint:errorlint // an EOF inside another error tells of a source that broke
			return n, true, nil
		case err != nil:
			return n, false, err
		case m > 0:
			idle = 0
		default:
			if idle++; idle == idleReads {
				return n, false, io.ErrNoProgress
			}
		}
	}
	return n, false, nil
}
