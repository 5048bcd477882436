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

// resume connects again after a break.
func (b *Body) resume() error {
	if b.about.ranges && b.offset-b.since >= progress {
		b.breaks = maxBreaks
		b.wait.Reset()
	}
	b.since = b.offset
	for {
		if b.breaks == 0 {
			return fault.Wrap(b.cause, fault.Unavailable, ReasonLost, "the source stopped before all bytes had come")
		}
		b.breaks--
		if err := b.wait.Wait(b.ctx); err != nil {
			return err
		}
		err := b.client.reach(b.ctx, b.reopen)
		if err == nil || b.ctx.Err() != nil || !fault.Retryable(err) {
			return err
		}
		b.cause = err
	}
}

// reopen gets the rest of the data, from the mirror that the beginning came from while it has it.
func (b *Body) reopen() error {
	r := b.request
	r.URI = b.place
	get := b.again
	if b.offset > 0 && b.about.ranges && b.about.validator() != "" {
		get = b.rest
	}
	err := get(r)
	if _, refused := errors.AsType[Status](err); refused && b.place != b.request.URI {
		b.place = b.request.URI
		return unreachable(err)
	}
	return err
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
	from, size, ok := contentRange(a.Header.Get("Content-Range"))
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
		n, err := b.read(buf[:min(left, skipBuffer)])
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
