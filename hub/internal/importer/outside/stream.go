package outside

import (
	"context"
	"errors"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/retry"
)

const (
	// maxBreaks is how often a source may break without having sent anything that counts.
	maxBreaks = 5
	// progress is how many bytes make up for a break.
	progress = 1 << 20
)

var errClosed = errors.New("closed")

// stream is a connection to a source, and what it takes to get another one when it breaks. Not safe for concurrent use.
type stream struct {
	ctx     context.Context
	client  *Client
	request Request

	now    *answer // nil: broken
	cause  error   // why it broke last
	stall  *time.Timer
	place  string // where the data has come from, which need not be where the next redirect leads
	offset int64  // of the next byte

	breaks int   // left
	since  int64 // offset at the last break
	wait   *retry.Backoff
}

func newStream(ctx context.Context, c *Client, r Request) stream {
	return stream{
		ctx: ctx, client: c, request: r, breaks: maxBreaks,
		wait: retry.Policy{Initial: c.options.Connect / 10, Max: c.options.Connect}.Backoff(),
	}
}

func (s *stream) attach(a *answer) {
	s.now, s.place = a, a.Request.URL.String()
	s.stall = time.AfterFunc(s.client.options.Stall, func() { a.cancel(errStalled) })
	s.stall.Stop()
}

// read reads from the present connection. The source is not to blame for the time in which nobody reads.
func (s *stream) read(p []byte) (int, error) {
	s.stall.Reset(s.client.options.Stall)
	n, err := s.now.Body.Read(p)
	s.stall.Stop()
	return n, err
}

// broken ends the present connection.
func (s *stream) broken(err error) {
	if s.now != nil {
		s.stall.Stop()
		s.now.close()
	}
	s.now, s.cause = nil, scrub(err)
}

// resume connects again after a break, with get. What has come since the last break makes up for it if it counts.
func (s *stream) resume(counts bool, get func() error) error {
	if counts && s.offset-s.since >= progress {
		s.breaks = maxBreaks
		s.wait.Reset()
	}
	s.since = s.offset
	for {
		if s.breaks == 0 {
			return fault.Wrap(s.cause, fault.Unavailable, ReasonLost, "the source stopped before all bytes had come")
		}
		s.breaks--
		if err := s.wait.Wait(s.ctx); err != nil {
			return err
		}
		err := get()
		if err == nil || s.ctx.Err() != nil || !fault.Retryable(err) {
			return err
		}
		s.cause = err
	}
}

// reopen gets what is missing with get, from the mirror that the beginning came from while it has it.
func (s *stream) reopen(get func(Request) error) error {
	r := s.request
	r.URI = s.place
	err := get(r)
	if _, refused := errors.AsType[Status](err); refused && s.place != s.request.URI {
		s.place = s.request.URI
		return unreachable(err)
	}
	return err
}
