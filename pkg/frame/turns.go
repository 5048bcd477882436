package frame

import (
	"context"
	"crypto/tls"
	"net"
	"sync/atomic"
)

// turns dials servers that serve the same: the one that answered last, and when it does not the next.
type turns struct {
	addresses []string
	dialer    tls.Dialer
	at        atomic.Int64 // index of the server to try first
}

// dial returns a connection after its TLS handshake; its signature is http.Transport's. It blocks for dialTimeout for each
// server at most. The error is that of the last one tried.
func (t *turns) dial(ctx context.Context, _, _ string) (conn net.Conn, err error) {
	for range t.addresses {
		at := t.at.Load()
		if conn, err = t.one(ctx, t.addresses[at]); err == nil || ctx.Err() != nil {
			return conn, err
		}
		t.at.CompareAndSwap(at, (at+1)%int64(len(t.addresses)))
	}
	return nil, err
}

func (t *turns) one(ctx context.Context, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return t.dialer.DialContext(ctx, "tcp", address)
}
