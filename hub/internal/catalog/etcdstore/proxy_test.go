package etcdstore

import (
	"net"
	"strings"
	"sync"
	"testing"
)

// proxy stands between a store and etcd and breaks their connections in chosen ways.
type proxy struct {
	t        *testing.T
	target   string
	listener net.Listener
	wg       sync.WaitGroup

	mu       sync.Mutex
	conns    map[net.Conn]struct{}
	refusing bool
	thaw     chan struct{} // not nil: nothing passes until it is closed
	answers  []func()      // what to do with the coming answers that are larger than a ping, instead of passing them on
	asked    []func()      // the same for requests
}

func newProxy(t *testing.T) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, target: strings.TrimPrefix(endpoints[0], "unix://"), listener: l, conns: map[net.Conn]struct{}{}}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.warm()
		p.cut()
		p.wg.Wait()
	})
	return p
}

// endpoints returns what the store connects to.
func (p *proxy) endpoints() []string { return []string{"http://" + p.listener.Addr().String()} }

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("unix", p.target)
		p.mu.Lock()
		if err != nil || p.refusing {
			_ = client.Close()
			if err == nil {
				_ = server.Close()
			}
			p.mu.Unlock()
			continue
		}
		p.conns[client], p.conns[server] = struct{}{}, struct{}{}
		p.mu.Unlock()
		p.wg.Go(func() { p.pump(client, server, &p.asked, http2Preface) })
		p.wg.Go(func() { p.pump(server, client, &p.answers, 0) })
	}
}

// calls finds where calls and their answers begin in one direction of an HTTP/2 connection: at a HEADERS frame. Pings, window
// updates and messages of streams that are open, such as watches, have none. What TCP cuts into pieces does not matter.
type calls struct {
	skip int // bytes until the next frame
	head []byte
}

const (
	http2Preface = 24 // what a client sends first
	http2Header  = 9  // of a frame: its length in three bytes, its type, flags and stream
	http2Headers = 1  // type of HEADERS
)

// begin reports whether one begins in the bytes that come next.
func (c *calls) begin(b []byte) (found bool) {
	for len(b) > 0 {
		if n := min(c.skip, len(b)); n > 0 {
			c.skip, b = c.skip-n, b[n:]
			continue
		}
		n := min(http2Header-len(c.head), len(b))
		c.head, b = append(c.head, b[:n]...), b[n:]
		if len(c.head) == http2Header {
			found = found || c.head[3] == http2Headers
			c.skip, c.head = int(c.head[0])<<16|int(c.head[1])<<8|int(c.head[2]), c.head[:0]
		}
	}
	return found
}

func (p *proxy) pump(from, to net.Conn, faults *[]func(), skip int) {
	c := calls{skip: skip}
	defer func() { _, _ = from.Close(), to.Close() }()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		thaw := p.thaw
		var fault func()
		if begins := c.begin(buf[:n]); begins && len(*faults) > 0 {
			fault, *faults = (*faults)[0], (*faults)[1:]
		}
		p.mu.Unlock()
		if thaw != nil {
			<-thaw
		}
		if fault != nil {
			fault()
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// dropAnswer loses the next answer and breaks its connection, after calling before.
func (p *proxy) dropAnswer(before func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers = append(p.answers, before)
}

// dropRequest loses the next request and breaks its connection, after calling before.
func (p *proxy) dropRequest(before func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, before)
}

// freeze holds everything back until warm is called. Connections stay open.
func (p *proxy) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.thaw == nil {
		p.thaw = make(chan struct{})
	}
}

func (p *proxy) warm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.thaw != nil {
		close(p.thaw)
		p.thaw = nil
	}
}

// cut breaks all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
		delete(p.conns, c)
	}
}

// refuse breaks all connections and, until called with false, all new ones.
func (p *proxy) refuse(on bool) {
	p.mu.Lock()
	p.refusing = on
	p.mu.Unlock()
	if on {
		p.cut()
	}
}
