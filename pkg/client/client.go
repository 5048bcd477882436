// Package client is the Go client of the hub's API.
//
// A Client carries the generated clients of every service, plus what a caller would otherwise write again: pages that
// are followed, uploads and downloads, and operations that are watched across restarts of the hub. All errors are
// errors of package fault; a hub that does not answer is Unavailable with reason UNREACHABLE.
package client

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/retry"
	"github.com/atoll-dcn/atoll/pkg/rpc"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// Defaults of Options.
const (
	defaultCallTimeout = 30 * time.Second
	defaultPatience    = 5 * time.Minute
)

// Options says how to talk to a hub. The zero value is useful.
type Options struct {
	// UserAgent names the program and its version; empty means "atoll-client".
	UserAgent string
	// CallTimeout ends calls that answer once and whose context has no deadline; 0 means 30 s. WaitOperation is exempt.
	CallTimeout time.Duration
	// Patience is how long FollowOperation goes on without a word from the hub; 0 means 5 minutes.
	Patience time.Duration
	// TLS is how to reach a hub that is not on this machine, see rpc.ClientTLS; nil means plaintext.
	TLS *tls.Config
	// Tokens says who calls; nil means nobody. Tokens are not sent in plaintext to another machine.
	Tokens Tokens
	// Retry says how FollowOperation waits before it watches again; the zero value means 0.2 s growing to 5 s.
	Retry retry.Policy
}

// Client talks to one hub. It is safe for concurrent use. The owner closes it.
type Client struct {
	Images     hubv1.ImageServiceClient
	Replicas   hubv1.ReplicaServiceClient
	Sites      hubv1.SiteServiceClient
	Stores     hubv1.StoreServiceClient
	Operations hubv1.OperationServiceClient
	Limits     hubv1.LimitServiceClient

	conn     *grpc.ClientConn
	patience time.Duration
	retry    retry.Policy
	tokens   Tokens
}

// New returns a client of the hub at target (host:port, or unix:PATH), or of several hubs that share their work (host:port
// of each, separated by commas): the first that answers is asked. It does not connect: the first call does. Invalid
// with reason TLS_REQUIRED when there are tokens, no TLS, and the target is another machine.
func New(target string, o Options) (*Client, error) {
	if o.UserAgent == "" {
		o.UserAgent = "atoll-client"
	}
	if o.CallTimeout == 0 {
		o.CallTimeout = defaultCallTimeout
	}
	if o.Patience == 0 {
		o.Patience = defaultPatience
	}
	if o.Retry == (retry.Policy{}) {
		o.Retry = retry.Policy{Initial: 200 * time.Millisecond, Max: 5 * time.Second}
	}
	if o.Tokens != nil && o.TLS == nil && slices.ContainsFunc(rpc.Targets(target), func(t string) bool { return !isLocal(t) }) {
		return nil, fault.New(fault.Invalid, "TLS_REQUIRED", "a token is not sent to %s without TLS, where others could read it", target)
	}
	conn, err := rpc.Dial(target, rpc.DialOptions{TLS: o.TLS, UserAgent: o.UserAgent})
	if err != nil {
		return nil, err
	}
	var cc grpc.ClientConnInterface = conn
	if o.Tokens != nil {
		cc = authorized{cc, o.Tokens}
	}
	cc = bounded{cc, o.CallTimeout}
	return &Client{
		Images:     hubv1.NewImageServiceClient(cc),
		Replicas:   hubv1.NewReplicaServiceClient(cc),
		Sites:      hubv1.NewSiteServiceClient(cc),
		Stores:     hubv1.NewStoreServiceClient(cc),
		Operations: hubv1.NewOperationServiceClient(cc),
		Limits:     hubv1.NewLimitServiceClient(cc),
		conn:       conn,
		patience:   o.Patience,
		retry:      o.Retry,
		tokens:     o.Tokens,
	}, nil
}

// isLocal reports whether a target is on this machine.
func isLocal(target string) bool {
	if strings.HasPrefix(target, "unix:") {
		return true
	}
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		host = target
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Close ends the connection and every call on it.
func (c *Client) Close() error { return c.conn.Close() }

// bounded is a connection whose plain calls end in time: a hub that accepts calls and never answers blocks nobody.
type bounded struct {
	grpc.ClientConnInterface
	timeout time.Duration
}

// Invoke makes one plain call.
func (b bounded) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if _, ok := ctx.Deadline(); !ok && method != hubv1.OperationService_WaitOperation_FullMethodName {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, b.timeout)
		defer cancel()
	}
	return b.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
}
