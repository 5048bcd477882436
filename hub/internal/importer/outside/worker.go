package outside

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

var (
	errChanged = errors.New("the data has changed")
	errNoPart  = errors.New("the source does not send the part that was asked for")
)

// worker fetches segments over one connection at a time.
type worker struct {
	stream
	a *ahead
	g *segment // that is fetched
}

// work fetches segments until the context ends or a segment fails; that one is left to the others, so that a source which
// accepts few connections is read over few.
func (w *worker) work() {
	for {
		select {
		case <-w.ctx.Done():
			return
		case w.g = <-w.a.todo:
		}
		err := w.fill()
		if err == nil {
			continue
		}
		last := w.a.left.Add(-1) == 0
		if last || errors.Is(err, errChanged) {
			w.a.fail(err)
			return
		}
		w.a.todo <- w.g // never blocks: it has room for all
		return
	}
}

// fill fetches what is missing of a segment. Before any part has come, nothing is tried twice.
func (w *worker) fill() error {
	w.offset = w.g.from + w.g.filled.Load()
	w.since, w.breaks = w.offset, maxBreaks
	w.wait.Reset()
	end := w.g.from + int64(len(w.g.buf))
	err := w.get()
	for w.offset < end {
		if err != nil {
			_, refused := errors.AsType[Status](err)
			if refused || !fault.Retryable(err) || !w.a.proven.Load() {
				return err
			}
			w.cause = err
		}
		if w.now == nil {
			if err := w.resume(true, w.get); err != nil {
				return err
			}
		}
		err = nil
		n, broke := w.read(w.g.buf[w.offset-w.g.from:])
		w.offset += int64(n)
		w.g.grow(n)
		if broke != nil && w.offset < end {
			w.broken(broke)
		}
	}
	w.finish()
	return nil
}

// get gets what is missing of the segment, in the way that led to the data first when its place refuses that.
func (w *worker) get() error {
	before := w.place
	err := w.reopen(w.part)
	if err != nil && w.place != before {
		err = w.reopen(w.part)
	}
	return err
}

// grow tells the reader that more has been written.
func (g *segment) grow(n int) {
	g.filled.Add(int64(n))
	select {
	case g.news <- struct{}{}:
	default:
	}
}

// part asks for what is missing of the segment, on condition that the data is the same.
func (w *worker) part(r Request) error {
	last := w.g.from + int64(len(w.g.buf)) - 1
	a, err := w.client.ask(w.ctx, r, http.Header{
		"Range": {fmt.Sprintf("bytes=%d-%d", w.offset, last)}, "If-Range": {w.a.about.validator()},
	}, http.StatusOK, http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable)
	if err != nil {
		return err
	}
	if err := w.judge(a, last); err != nil {
		a.close()
		return err
	}
	w.attach(a)
	w.g.now.Store(a)
	w.a.proven.Store(true)
	return nil
}

// judge decides whether an answer is the part that was asked for, or the beginning of it.
func (w *worker) judge(a *answer, last int64) error {
	if a.StatusCode == http.StatusOK {
		if w.a.about.differs(a.Response, a.ContentLength) {
			return errChanged
		}
		return errNoPart
	}
	from, to, size, ok := contentRange(a.Header.Get("Content-Range"))
	if !ok {
		size = -1
	}
	switch {
	case w.a.about.differs(a.Response, size):
		return errChanged
	case a.StatusCode != http.StatusPartialContent, !ok, from != w.offset, to > last, a.ContentLength >= 0 && a.ContentLength != to-from+1:
		return errNoPart
	}
	return nil
}

// finish ends the answer behind the last byte that was asked for. Its connection can be used again when nothing follows.
func (w *worker) finish() {
	w.g.now.Store(nil)
	if n, err := w.read(make([]byte, 1)); n > 0 || !atEnd(err) {
		w.broken(errNoPart)
		return
	}
	w.stall.Stop()
	_ = w.now.Body.Close()
	w.now.cancel(nil)
	w.now = nil
}
