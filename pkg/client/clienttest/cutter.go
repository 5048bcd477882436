package clienttest

import (
	"net"
	"sync"
)

// cutter is a listener whose connections can be broken from outside, as a crash would.
type cutter struct {
	net.Listener
	mu     sync.Mutex
	conns  map[net.Conn]bool
	isDown bool
}

// Accept returns the next connection; while down, connections are closed as soon as they are made.
func (c *cutter) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c.mu.Lock()
		refused := c.isDown
		if !refused {
			c.conns[conn] = true
		}
		c.mu.Unlock()
		if !refused {
			return conn, nil
		}
		_ = conn.Close()
	}
}

func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		_ = conn.Close()
		delete(c.conns, conn)
	}
}

func (c *cutter) down(down bool) {
	c.mu.Lock()
	c.isDown = down
	c.mu.Unlock()
	if down {
		c.cut()
	}
}
