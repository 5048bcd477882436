package outside

import (
	"errors"
	"fmt"
	"hash/maphash"
	"net/http"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// errNoRange says that the source has nothing at the place asked for.
var errNoRange = errors.New("the source has nothing there")

// restart connects again after a break.
func (b *Body) restart() error {
	return b.resume(b.about.ranges, func() error {
		return b.client.reach(b.ctx, func() error {
			if b.offset > 0 && b.about.ranges && b.about.validator() != "" {
				return b.reopen(b.rest)
			}
			return b.reopen(b.again)
		})
	})
}

// rest asks for the bytes that are missing, on condition that the data is the same; other data comes as a whole.
func (b *Body) rest(r Request) error {
	a, err := b.client.ask(b.ctx, r, http.Header{
		"Range": {fmt.Sprintf("bytes=%d-", b.offset)}, "If-Range": {b.about.validator()},
	}, http.StatusOK, http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable)
	if err != nil {
		return err
	}
	if a.StatusCode == http.StatusOK {
		b.about.ranges = false
		return b.skip(a)
	}
	from, _, size, ok := contentRange(a.Header.Get("Content-Range"))
	switch {
	case a.StatusCode == http.StatusRequestedRangeNotSatisfiable:
		err = b.ended(size, ok)
	case !ok || from != b.offset:
		b.about.ranges = false // what it sends is not what was asked for; the next attempt reads everything
		err = unreachable(errNoRange)
	case b.about.differs(a.Response, size):
		err = changed()
	}
	if err != nil {
		a.close()
		return err
	}
	b.about.size = max(b.about.size, size)
	b.attach(a)
	return nil
}

// ended is the error for a source that has no more bytes although it has announced some.
func (b *Body) ended(size int64, known bool) error {
	if known && size == b.offset {
		return fault.New(fault.Invalid, "SIZE_MISMATCH", "the source announced %d bytes and has %d", b.about.size, size)
	}
	return changed()
}

func changed() error {
	return fault.New(fault.Precondition, ReasonChanged, "the data of the source changed while it was read; import it again")
}

// again asks for everything.
func (b *Body) again(r Request) error {
	a, err := b.client.ask(b.ctx, r, nil, http.StatusOK)
	if err != nil {
		return err
	}
	return b.skip(a)
}

const skipBuffer = 256 << 10 // bytes

// skip reads what has been handed out already and makes sure that it is the same.
func (b *Body) skip(a *answer) error {
	if b.about.differs(a.Response, a.ContentLength) || isPage(a.Header.Get("Content-Type")) {
		a.close()
		return changed()
	}
	var sum maphash.Hash
	sum.SetSeed(b.sum.Seed())
	b.attach(a)
	buf := make([]byte, skipBuffer)
	for left := b.offset; left > 0; {
		n, err := b.receive(buf[:min(left, skipBuffer)])
		_, _ = sum.Write(buf[:n])
		if left -= int64(n); left > 0 && err != nil {
			b.broken(err)
			if atEnd(err) {
				return changed() // it is shorter now
			}
			return unreachable(b.cause)
		}
		if err := b.checkPace(); err != nil {
			b.broken(err)
			return err
		}
	}
	if sum.Sum64() != b.sum.Sum64() {
		b.broken(errClosed)
		return changed()
	}
	return nil
}
