package rpc

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

// The metadata keys in which callers send tokens, those of the Image API's headers.
const (
	TokenKey        = "x-auth-token" //nolint:gosec // a name, not a secret
	ServiceTokenKey = "x-service-token"
)

// longestToken bounds what is handed to a verifier, in bytes; the longest tokens of Keystone have a few KiB.
const longestToken = 8 << 10

// openServices can be called by anybody: they tell whether the server serves, and the form of its messages, which is public.
var openServices = []string{"/grpc.health.v1.Health/", "/grpc.reflection."}

// Authentication finds out who makes each call, once, at its start: a call that goes on may outlive its token, and handlers
// that must not let it look at Caller.Expires. Its interceptors go into ServerOptions.
type Authentication struct {
	Verifier auth.Verifier
	// Limit, if not nil, returns the error for callers who make too many calls.
	Limit func(*auth.Caller) error
}

// Unary puts the caller and the token into the context of the handler, for auth.From and auth.TokenFrom. Calls of a token
// that the verifier refuses end with its error. Health and reflection are open to everybody.
func (a Authentication) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	ctx, err := a.authenticate(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	return next(ctx, req)
}

// Stream is Unary for streams.
func (a Authentication) Stream(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	ctx, err := a.authenticate(s.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	return next(srv, WithContext(ctx, s))
}

func (a Authentication) authenticate(ctx context.Context, method string) (context.Context, error) {
	for _, prefix := range openServices {
		if strings.HasPrefix(method, prefix) {
			return ctx, nil
		}
	}
	token, err := incomingToken(ctx, TokenKey)
	if err != nil {
		return nil, err
	}
	service, err := incomingToken(ctx, ServiceTokenKey)
	if err != nil {
		return nil, err
	}
	found, err := a.Verifier.Verify(ctx, token, service)
	if err != nil {
		return nil, err
	}
	if a.Limit != nil {
		if err := a.Limit(found); err != nil {
			return nil, err
		}
	}
	caller := *found // shared with the verifier's cache
	caller.RequestID = RequestID(ctx)
	return auth.WithToken(auth.With(ctx, &caller), token), nil
}

// incomingToken returns the token under a key, empty when there is none.
func incomingToken(ctx context.Context, key string) (string, error) {
	values := metadata.ValueFromIncomingContext(ctx, key)
	switch {
	case len(values) == 0:
		return "", nil
	case len(values) > 1 || len(values[0]) > longestToken:
		return "", fault.New(fault.Unauthenticated, "TOKEN_INVALID", "the token is not valid")
	}
	return values[0], nil
}
