package outside

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	segmentBytes = 8 << 20
	largeBytes   = 64 << 20
	// maxWidens is how often more connections are tried for one transfer.
	maxWidens = 3
	// patience is how long connections that nobody needs yet are kept.
	patience = 30 * time.Second
)

// ahead fetches the segments that follow a place in the data over several connections, in parallel, while one reader takes them
// in order. At most one segment more than there are connections is in memory; a reader that stops stops the connections. Its
// methods are for the reader.
type ahead struct {
	about   identity
	size    int64 // of a segment in bytes
	start   int64 // where the first segment begins; what comes before is read from the connection that was there before
	planned int64 // where the next segment begins
	client  *Client
	ctx     context.Context // of the workers
	cancel  context.CancelFunc
	workers sync.WaitGroup

	queue []*segment    // those that have not been read to their end, in order
	taken int64         // bytes of the first one that have been read
	held  time.Duration // that the reader has waited for it since its connection was last replaced
	free  [][]byte      // buffers of those that have
	spare int           // buffers that have not been needed so far

	todo   chan *segment // those that nobody fetches; as many fit as there may be
	left   atomic.Int64  // workers
	proven atomic.Bool   // the source has sent a part
	over   chan struct{} // closed when no worker is left, or all that has come is void
	end    sync.Once
	cause  error // set before over is closed
}

// segment is a piece of the data. One worker at a time writes it, the reader reads what has been written.
type segment struct {
	from   int64
	buf    []byte
	filled atomic.Int64
	news   chan struct{} // has something when more has been written
	now    atomic.Pointer[answer]
}

// spread begins to use more connections when there is much to come of a source that can begin in the middle.
func (b *Body) spread() {
	o := b.client.options
	if b.ahead != nil || b.tries == 0 || b.now == nil || b.offset < b.widen || o.Connections < 2 || !b.about.ranges ||
		b.about.validator() == "" || b.about.size-b.offset < o.large {
		return
	}
	b.tries--
	b.ahead = b.newAhead(o)
}

func (b *Body) newAhead(o Options) *ahead {
	ctx, cancel := context.WithCancel(b.ctx)
	client := *b.client
	// The connections of one transfer are used again, as they all go to the place that its data has come from.
	client.transport = client.transport.Clone()
	client.transport.DialContext = toPeer(client.transport.DialContext, b.now)
	client.transport.DisableKeepAlives = false
	client.transport.MaxIdleConnsPerHost = o.Connections
	client.transport.IdleConnTimeout = patience
	a := &ahead{
		about: b.about, size: o.segment, start: b.offset + o.segment, planned: b.offset + o.segment, client: &client, ctx: ctx, cancel: cancel,
		spare: o.Connections + 1, todo: make(chan *segment, o.Connections+1), over: make(chan struct{}),
	}
	for range o.Connections - 1 {
		a.hire(b.request, b.place)
	}
	a.plan()
	return a
}

// dial connects to an address.
type dial func(ctx context.Context, network, address string) (net.Conn, error)

// toPeer returns a dial that connects to the address an answer has come from where its place is asked for: others of the same
// name may be servers with other data. Whether it may be dialled is judged again.
func toPeer(d dial, a *answer) dial {
	port, err := portOf(a.Request.URL)
	place := net.JoinHostPort(a.Request.URL.Hostname(), strconv.Itoa(int(port)))
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if err == nil && address == place && a.peer != "" {
			address = a.peer
		}
		return d(ctx, network, address)
	}
}

// hire starts one worker.
func (a *ahead) hire(r Request, place string) {
	w := &worker{stream: newStream(a.ctx, a.client, r), a: a}
	w.place = place
	a.left.Add(1)
	a.workers.Go(w.work)
}

// plan hands out segments as long as there is memory for them.
func (a *ahead) plan() {
	for a.planned < a.about.size && (a.spare > 0 || len(a.free) > 0) {
		if len(a.free) == 0 {
			a.spare--
			a.free = append(a.free, make([]byte, a.size))
		}
		g := &segment{from: a.planned, buf: a.free[len(a.free)-1][:min(a.size, a.about.size-a.planned)], news: make(chan struct{}, 1)}
		a.free = a.free[:len(a.free)-1]
		a.planned += int64(len(g.buf))
		a.queue = append(a.queue, g)
		a.todo <- g // never blocks: it has room for all
	}
}

// fail gives up: what the workers fetch is not needed any more.
func (a *ahead) fail(err error) {
	a.end.Do(func() {
		a.cause = err
		close(a.over)
	})
}

// wait blocks until the first segment has bytes that have not been read, and returns them: nil when no worker is left to bring
// them, or ctx ends. A connection that the reader has waited for so long that others might be faster is replaced.
func (a *ahead) wait(ctx context.Context, stall time.Duration) []byte {
	g, began := a.queue[0], time.Now()
	late := time.NewTimer(stall - a.held)
	defer late.Stop()
	defer func() { a.held += time.Since(began) }()
	for over := false; ; {
		if n := g.filled.Load(); n > a.taken {
			return g.buf[a.taken:n]
		}
		if over {
			return nil
		}
		select {
		case <-g.news:
		case <-late.C:
			if now := g.now.Load(); now != nil {
				now.cancel(errStalled)
			}
			a.held, began = 0, time.Now()
			late.Reset(stall)
		case <-ctx.Done():
			return nil
		case <-a.over:
			over = true
		}
	}
}

// take marks bytes of the first segment as read.
func (a *ahead) take(n int) {
	a.taken += int64(n)
	if g := a.queue[0]; a.taken == int64(len(g.buf)) {
		a.free = append(a.free, g.buf[:cap(g.buf)])
		a.queue = slices.Delete(a.queue, 0, 1)
		a.taken, a.held = 0, 0
		a.plan()
	}
}

// stop ends the workers and waits for them.
func (a *ahead) stop() {
	a.cancel()
	a.workers.Wait()
	a.client.transport.CloseIdleConnections()
}

// narrow goes back to one connection.
func (b *Body) narrow() {
	if b.ahead != nil {
		b.ahead.stop()
		b.ahead = nil
	}
}

// readAhead reads from the segments. It returns nothing when the transfer has to go on with one connection, which knows better
// what a source that does not do what it should is to be taken for.
func (b *Body) readAhead(p []byte) (int, error) {
	if b.offset == b.about.size {
		b.narrow()
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	began := time.Now()
	got := b.ahead.wait(b.ctx, b.client.options.Stall)
	b.waited += time.Since(began)
	switch {
	case b.ctx.Err() != nil:
		return 0, final(b.ctx, b.ctx.Err())
	case got == nil:
		return 0, b.giveUp()
	}
	if b.now != nil { // the source does send parts: the first connection has done its work
		b.broken(errClosed)
		b.ahead.hire(b.request, b.place)
	}
	n := copy(p, got)
	b.ahead.take(n)
	b.came += int64(n)
	b.hand(p[:n])
	return n, b.checkPace()
}

// giveUp goes on with one connection after the segments have failed, if anything can come of it.
func (b *Body) giveUp() error {
	cause := b.ahead.cause
	b.widen = b.offset + b.client.options.large
	if !b.ahead.proven.Load() {
		b.tries = 0
	}
	b.narrow()
	if b.now != nil {
		return nil // what it brings is the same data, whatever others have
	}
	b.cause = cause
	if errors.Is(cause, errChanged) {
		return changed()
	}
	return nil
}
