package frame

import (
	"context"
	"net"
	"net/http"
	"sync"
	"testing"
)

// Piped returns a client of a handler over connections in memory: in a bubble of synctest no time passes on them. Both end with the test.
func Piped(t *testing.T, h http.Handler) *Client {
	t.Helper()
	l := &pipes{made: make(chan net.Conn), closed: make(chan struct{})}
	s := &http.Server{Handler: h} //nolint:gosec // a test
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.Serve(l)
	}()
	e, err := ParseEndpoint("hub", "unix:/none")
	if err != nil {
		t.Fatal(err)
	}
	transport := NewTransport(e, nil)
	transport.DialContext = l.dial
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = s.Close()
		<-served
	})
	return NewClient(e, &http.Client{Transport: transport})
}

// pipes is a listener in memory.
type pipes struct {
	made   chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	mine, other := net.Pipe()
	select {
	case l.made <- other:
		return mine, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.made:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (*pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }
