package lab

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// balancer is a load balancer that knows nothing: each connection goes to the next of its backends that takes it.
type balancer struct {
	listener net.Listener
	backends []string
	next     atomic.Uint64

	mu   sync.Mutex
	open map[*net.TCPConn]struct{} // of clients
}

// balance starts a balancer, which ends with the test.
func balance(t *testing.T, backends []string) *balancer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	b := &balancer{listener: l, backends: backends, open: map[*net.TCPConn]struct{}{}}
	go b.run()
	return b
}

func (b *balancer) address() string { return b.listener.Addr().String() }

// cut resets all connections that are open; what was on its way is lost.
func (b *balancer) cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.open {
		_ = c.SetLinger(0)
		_ = c.Close()
	}
}

// keep remembers a connection until the returned function is called.
func (b *balancer) keep(c *net.TCPConn) (forget func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open[c] = struct{}{}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.open, c)
	}
}

func (b *balancer) run() {
	for {
		c, err := b.listener.Accept()
		if err != nil {
			return
		}
		go b.serve(c.(*net.TCPConn)) //nolint:forcetypeassert // of a TCP listener
	}
}

func (b *balancer) serve(c *net.TCPConn) {
	defer func() { _ = c.Close() }()
	defer b.keep(c)()
	for range b.backends {
		address := b.backends[b.next.Add(1)%uint64(len(b.backends))]
		d, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			continue
		}
		join(c, d.(*net.TCPConn)) //nolint:forcetypeassert // of a dial with "tcp"
		return
	}
}

// join moves bytes both ways until both sides have ended.
func join(a, b *net.TCPConn) {
	var wg sync.WaitGroup
	for _, pair := range [][2]*net.TCPConn{{a, b}, {b, a}} {
		wg.Go(func() {
			if _, err := io.Copy(pair[0], pair[1]); err != nil || pair[0].CloseWrite() != nil {
				_ = pair[0].Close()
				_ = pair[1].Close()
			}
		})
	}
	wg.Wait()
	_ = b.Close()
}
