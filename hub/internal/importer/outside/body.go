package outside

import (
	"context"
	"hash/maphash"
	"io"
	"net/http"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// paceWindow and paceBytes are the slowest pace: so many bytes in so much time spent waiting for the source.
const (
	paceWindow = 5 * time.Minute
	paceBytes  = 1 << 20
)

// Body is the data of a source. When the connection breaks it goes on where it was, as long as the source says that its data is
// the same; where it cannot begin in the middle, it reads everything again and compares. What is long comes over several
// connections, if the source can begin in the middle. Not safe for concurrent use.
type Body struct {
	stream
	about identity // of the data
	sum   maphash.Hash

	ahead *ahead // fetches what comes next over more connections; nil: there is one only
	widen int64  // offset at which more connections are tried
	tries int    // that are left

	waited time.Duration // in this window of pace
	came   int64         // bytes in it
}

func newBody(ctx context.Context, c *Client, r Request) *Body {
	return &Body{stream: newStream(ctx, c, r), tries: maxWidens}
}

// Size returns how many bytes the source has announced, 0 when it has not.
func (b *Body) Size() int64 { return max(b.about.size, 0) }

// start gets the first answer.
func (b *Body) start() error {
	return b.client.reach(b.ctx, func() error {
		a, err := b.client.ask(b.ctx, b.request, nil, http.StatusOK)
		if err != nil {
			return err
		}
		switch {
		case a.ContentLength == 0:
			err = fault.BadField("uri", "the source is empty")
		case isPage(a.Header.Get("Content-Type")):
			err = fault.New(fault.Precondition, ReasonNotData, "uri: the source answered a web page, not an image")
		}
		if err != nil {
			a.close()
			return err
		}
		b.about = identify(a.Response)
		b.attach(a)
		return nil
	})
}

// Read returns the next bytes. io.EOF comes only after all that the source has announced. Errors are for users.
func (b *Body) Read(p []byte) (int, error) {
	for {
		b.spread()
		if b.ahead != nil && b.offset >= b.ahead.start {
			n, err := b.readAhead(p)
			if n > 0 || err != nil {
				return n, err
			}
			continue // there are no more connections than one from here on
		}
		if b.now == nil {
			if err := b.restart(); err != nil {
				return 0, final(b.ctx, err)
			}
		}
		if b.ahead != nil {
			p = p[:min(int64(len(p)), b.ahead.start-b.offset)]
		}
		n, err := b.receive(p)
		b.hand(p[:n])
		if slow := b.checkPace(); slow != nil {
			return n, slow
		}
		if err == nil {
			return n, nil
		}
		if atEnd(err) && (b.about.size < 0 || b.offset == b.about.size) {
			return n, io.EOF
		}
		b.broken(err)
		if n > 0 {
			return n, nil
		}
	}
}

// atEnd reports whether a source has ended in order: an EOF inside another error tells of one that broke.
func atEnd(err error) bool { return err == io.EOF } //nolint:errorlint // see above

// hand notes what is handed out.
func (b *Body) hand(p []byte) {
	_, _ = b.sum.Write(p)
	b.offset += int64(len(p))
}

// receive reads from the present connection and counts how long that takes.
func (b *Body) receive(p []byte) (int, error) {
	began := time.Now()
	n, err := b.read(p)
	b.waited += time.Since(began)
	b.came += int64(n)
	return n, err
}

// checkPace fails a source that sends so little that it would hold its place for ever.
func (b *Body) checkPace() error {
	if b.waited < paceWindow {
		return nil
	}
	if b.came < paceBytes {
		return fault.New(fault.Precondition, ReasonSlow, "the source sends too slowly")
	}
	b.waited, b.came = 0, 0
	return nil
}

// Close ends the transfer. It returns when no connection is used any more.
func (b *Body) Close() error {
	b.narrow()
	b.tries = 0
	b.broken(errClosed)
	b.breaks = 0
	return nil
}
