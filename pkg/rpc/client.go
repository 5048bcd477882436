package rpc

import (
	"crypto/tls"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// DialOptions says how to reach a server.
type DialOptions struct {
	// TLS is nil for plaintext.
	TLS *tls.Config
	// UserAgent names the program and its version, such as "atollctl/0.1.0".
	UserAgent string
}

// Dial returns a connection to target (host:port, several of them separated by commas, or unix:PATH) without waiting for it:
// the first call connects. Errors
// of calls are fault errors: Unavailable with reason UNREACHABLE when the server does not answer, the fault of the TLS
// configuration's own checks when those refuse the server. The caller closes it.
func Dial(target string, o DialOptions) (*grpc.ClientConn, error) {
	creds := insecure.NewCredentials()
	if o.TLS != nil {
		creds = credentials.NewTLS(o.TLS)
	}
	r := refusals{creds, new(atomic.Pointer[fault.Error])}
	address, more, err := resolve(target)
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient(address, append(more,
		grpc.WithTransportCredentials(r),
		grpc.WithUserAgent(o.UserAgent),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: clientPing, Timeout: clientPingWait, PermitWithoutStream: true}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.5, MaxDelay: 5 * time.Second},
			MinConnectTimeout: 10 * time.Second,
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessage), grpc.MaxCallSendMsgSize(MaxMessage)),
		grpc.WithChainUnaryInterceptor(r.unary),
		grpc.WithChainStreamInterceptor(r.stream),
	)...)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "INVALID_ADDRESS", "%q is not an address of a server", target)
	}
	return conn, nil
}
