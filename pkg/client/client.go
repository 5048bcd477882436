// Package client is the Go client of the hub's API.
//
// A Client carries the generated clients of every service, plus what a caller would otherwise write again: pages that
// are followed, uploads and downloads, and operations that are watched across restarts of the hub. All errors are
// errors of package fault; a hub that does not answer is Unavailable with reason UNREACHABLE.
package client

import (
	"context"
	"time"

	"google.golang.org/grpc"

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

	conn     *grpc.ClientConn
	patience time.Duration
	retry    retry.Policy
}

// New returns a client of the hub at target (host:port, or unix:PATH). It does not connect: the first call does.
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
	conn, err := rpc.Dial(target, rpc.DialOptions{UserAgent: o.UserAgent})
	if err != nil {
		return nil, err
	}
	cc := bounded{conn, o.CallTimeout}
	return &Client{
		Images:     hubv1.NewImageServiceClient(cc),
		Replicas:   hubv1.NewReplicaServiceClient(cc),
		Sites:      hubv1.NewSiteServiceClient(cc),
		Stores:     hubv1.NewStoreServiceClient(cc),
		Operations: hubv1.NewOperationServiceClient(cc),
		conn:       conn,
		patience:   o.Patience,
		retry:      o.Retry,
	}, nil
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
