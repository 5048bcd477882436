package edge

import (
	"context"
	"net"
	"net/http/httptrace"
	"sync/atomic"
)

// counted is a connection to the hub that counts the bytes sent. A request of which none was sent has not been carried out.
type counted struct {
	net.Conn
	sent atomic.Int64
}

// Write implements net.Conn.
func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.sent.Add(int64(n))
	return n, err
}

// counting dials connections that count.
func counting(d *net.Dialer) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := d.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &counted{Conn: c}, nil
	}
}

// mark is where a connection stood.
type mark struct {
	conn *counted
	sent int64
}

// got notes the connection that a request goes over; the last one counts, because only what was not sent is tried again.
func (a *attempt) got(info httptrace.GotConnInfo) {
	conn := info.Conn
	if secure, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = secure.NetConn()
	}
	if c, ok := conn.(*counted); ok {
		a.sent.Store(&mark{c, c.sent.Load()})
	}
}

// moved reports whether anything was sent since; false for nil.
func (m *mark) moved() bool { return m != nil && m.conn.sent.Load() > m.sent }
