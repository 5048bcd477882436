package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"

	"google.golang.org/grpc/credentials"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// refusals is client credentials that remember why the last handshake was broken off on this side: gRPC keeps only a text.
type refusals struct {
	credentials.TransportCredentials
	last *atomic.Pointer[fault.Error]
}

// ClientHandshake implements credentials.TransportCredentials.
func (r refusals) ClientHandshake(ctx context.Context, authority string, c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := r.TransportCredentials.ClientHandshake(ctx, authority, c)
	e, ok := fault.As(err)
	if untrusted := new(tls.CertificateVerificationError); !ok && errors.As(err, &untrusted) {
		e = fault.New(fault.Denied, "CERT_UNTRUSTED", "the certificate of the server is not trusted: %v", untrusted.Err)
	}
	r.last.Store(e)
	return conn, info, err
}

// Clone implements credentials.TransportCredentials.
func (r refusals) Clone() credentials.TransportCredentials {
	return refusals{r.TransportCredentials.Clone(), r.last}
}

// explain replaces "cannot be reached" by the reason for which the handshake was broken off.
func (r refusals) explain(err error) error {
	if e := r.last.Load(); e != nil && fault.ReasonOf(err) == unreachable {
		return e
	}
	return err
}

// watched is server credentials that report failed handshakes.
type watched struct {
	credentials.TransportCredentials
	failed func(address string, err error)
}

// ServerHandshake implements credentials.TransportCredentials.
func (w watched) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := w.TransportCredentials.ServerHandshake(c)
	if err != nil {
		w.failed(c.RemoteAddr().String(), err)
	}
	return conn, info, err
}

// Clone implements credentials.TransportCredentials.
func (w watched) Clone() credentials.TransportCredentials {
	return watched{w.TransportCredentials.Clone(), w.failed}
}
