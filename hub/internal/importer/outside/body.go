package outside

import (
	"context"
	"errors"
	"hash/maphash"
	"io"
	"net/http"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/retry"
)

const (
	// maxBreaks is how often a source may break without having sent anything that counts.
	maxBreaks = 5
	// progress is how many bytes make up for a break.
	progress = 1 << 20
	// paceWindow and paceBytes are the slowest pace: so many bytes in so much time spent waiting for the source.
	paceWindow = 5 * time.Minute
	paceBytes  = 1 << 20
)

// Body is the data of a source. When the connection breaks it goes on where it was, as long as the source says that its data is
// the same; where it cannot begin in the middle, it reads everything again and compares. Not safe for concurrent use.
type Body struct {
	ctx     context.Context
	client  *Client
	request Request

	now    *answer // nil: broken
	cause  error   // why it broke last
	stall  *time.Timer
	about  identity // of the data
	place  string   // where it has come from, which need not be where the next redirect leads
	offset int64    // bytes handed out
	sum    maphash.Hash

	breaks int   // left
	since  int64 // offset at the last break
	wait   *retry.Backoff

	waited time.Duration // in this window of pace
	came   int64         // bytes in it
}

func newBody(ctx context.Context, c *Client, r Request) *Body {
	return &Body{
		ctx: ctx, client: c, request: r, breaks: maxBreaks,
		wait: retry.Policy{Initial: c.options.Connect / 10, Max: c.options.Connect}.Backoff(),
	}
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
		b.about, b.place = identify(a.Response), a.Request.URL.String()
		b.attach(a)
		return nil
	})
}

func (b *Body) attach(a *answer) {
	b.now = a
	b.stall = time.AfterFunc(b.client.options.Stall, func() { a.cancel(errStalled) })
	b.stall.Stop()
}

// Read returns the next bytes. io.EOF comes only after all that the source has announced. Errors are for users.
func (b *Body) Read(p []byte) (int, error) {
	for {
		if b.now == nil {
			if err := b.resume(); err != nil {
				return 0, final(b.ctx, err)
			}
		}
		n, err := b.read(p)
		_, _ = b.sum.Write(p[:n])
		b.offset += int64(n)
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

// read reads from the present connection and counts how long that takes.
func (b *Body) read(p []byte) (int, error) {
	began := time.Now()
	b.stall.Reset(b.client.options.Stall)
	n, err := b.now.Body.Read(p)
	b.stall.Stop() // the source is not to blame for the time in which nobody reads
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

// broken ends the present connection.
func (b *Body) broken(err error) {
	if b.now != nil {
		b.stall.Stop()
		b.now.close()
	}
	b.now, b.cause = nil, scrub(err)
}

// Close ends the transfer.
func (b *Body) Close() error {
	b.broken(errClosed)
	b.breaks = 0
	return nil
}

var errClosed = errors.New("closed")
