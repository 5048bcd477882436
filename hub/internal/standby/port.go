package standby

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// patience bounds the wait for the first byte of a connection.
const patience = 10 * time.Second

// Port is a port of the hub. Its Accept yields the connections that this hub's own servers should serve.
type Port struct {
	net.Listener // the real one
	kind         Kind
	f            *Forwarder
	slots        chan struct{} // one for each connection held or passed on
	ready        chan net.Conn
	closed       chan struct{}
	once         sync.Once
}

// Accept blocks until there is a connection to serve or the port is closed, which is net.ErrClosed.
func (p *Port) Accept() (net.Conn, error) {
	select {
	case c := <-p.ready:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close closes the port. Connections that servers have accepted stay.
func (p *Port) Close() error {
	p.once.Do(func() { close(p.closed) })
	if err := p.Listener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// run accepts connections until the port is closed.
func (p *Port) run(ctx context.Context) {
	wait := accepts.Backoff()
	for {
		c, err := p.Listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			p.f.Log.Warn("connection not accepted", "port", string(p.kind), "error", err)
			if wait.Wait(ctx) != nil {
				return
			}
			continue
		}
		wait.Reset()
		conn, ok := c.(*net.TCPConn)
		if !ok {
			_ = c.Close()
			continue
		}
		select {
		case p.slots <- struct{}{}:
			p.f.wg.Go(func() {
				defer func() { <-p.slots }()
				p.handle(ctx, conn)
			})
		default:
			p.f.metrics.refused.WithLabelValues("too_many").Inc()
			_ = conn.Close()
		}
	}
}

// handle finds somebody who serves a connection, and blocks while that is another hub.
func (p *Port) handle(ctx context.Context, raw *net.TCPConn) {
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	c, passed, err := readHeader(raw, p.f.secret, p.kind, patience)
	if err != nil {
		stop()
		p.f.Log.Debug("connection closed before it began", "port", string(p.kind), "error", err)
		_ = raw.Close()
		return
	}
	deadline := time.NewTimer(p.f.Hold)
	defer deadline.Stop()
	wait := dials.Backoff()
	for {
		s := p.f.state()
		if s.leading {
			stop() // it is the server's from here
			p.deliver(ctx, c)
			return
		}
		retry := make(<-chan time.Time)
		if target, secret, ok := p.target(s); ok && !passed {
			if err := p.forward(s.ctx, raw, target, secret); err == nil {
				stop()
				_ = raw.Close()
				return
			}
			retry = time.After(wait.Next())
		}
		select {
		case <-s.ctx.Done():
		case <-retry:
		case <-ctx.Done():
			stop()
			_ = raw.Close()
			return
		case <-deadline.C:
			p.f.metrics.refused.WithLabelValues("no_leader").Inc()
			if p.kind == Image && !passed {
				p.refuse(raw)
			}
			stop()
			_ = raw.Close()
			return
		}
	}
}

// deliver hands a connection to this hub's own server.
func (p *Port) deliver(ctx context.Context, c net.Conn) {
	select {
	case p.ready <- c:
	case <-p.closed:
		_ = c.Close()
	case <-ctx.Done():
		_ = c.Close()
	}
}
