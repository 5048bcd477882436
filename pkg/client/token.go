package client

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/rpc"
)

// Tokens yields the token that says who calls. Package keystone has one that asks OpenStack.
type Tokens interface {
	// Token returns a token to send. stale is one that the hub has refused or outlived, empty for none: another one is
	// returned if there is one, else the same. It may block on the network until ctx ends and is called at the same time.
	Token(ctx context.Context, stale string) (string, error)
}

// StaticToken is Tokens that never change.
type StaticToken string

// Token returns the token.
func (t StaticToken) Token(context.Context, string) (string, error) { return string(t), nil }

// authorized is a connection that sends a token with every call.
type authorized struct {
	grpc.ClientConnInterface
	tokens Tokens
}

// Invoke makes one plain call. A call whose token is refused did nothing, so it is made again if there is another token.
func (a authorized) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	token, err := a.tokens.Token(ctx, "")
	if err != nil {
		return err
	}
	err = a.ClientConnInterface.Invoke(withToken(ctx, token), method, args, reply, opts...)
	if !fault.Is(err, fault.Unauthenticated) {
		return err
	}
	fresh, tokenErr := a.tokens.Token(ctx, token)
	if tokenErr != nil || fresh == token {
		return err
	}
	return a.ClientConnInterface.Invoke(withToken(ctx, fresh), method, args, reply, opts...)
}

// NewStream starts a stream. That its token is refused shows later, at the first message.
func (a authorized) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	token, err := a.tokens.Token(ctx, "")
	if err != nil {
		return nil, err
	}
	return a.ClientConnInterface.NewStream(withToken(ctx, token), desc, method, opts...)
}

func withToken(ctx context.Context, token string) context.Context {
	if token == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, rpc.TokenKey, token)
}

// renewed reports whether there is another token after one has been refused or outlived.
func (c *Client) renewed(ctx context.Context) bool {
	if c.tokens == nil {
		return false
	}
	old, err := c.tokens.Token(ctx, "")
	if err != nil {
		return false
	}
	fresh, err := c.tokens.Token(ctx, old)
	return err == nil && fresh != old
}
