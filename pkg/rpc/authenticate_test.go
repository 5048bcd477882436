package rpc

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

// door knows one token and one service token.
type door struct{ shared *auth.Caller }

func (d door) Verify(_ context.Context, token, service string) (*auth.Caller, error) {
	if token != "good" || service != "" && service != "nova" {
		return nil, fault.New(fault.Unauthenticated, "TOKEN_INVALID", "the token is not valid")
	}
	return d.shared, nil
}

func TestAuthentication(t *testing.T) {
	shared := &auth.Caller{UserID: "u"}
	busy := fault.New(fault.Exhausted, "TOO_MANY_REQUESTS", "slow down")
	const images = "/atoll.hub.v1.ImageService/GetImage"
	for _, tt := range []struct {
		name, method string
		md           metadata.MD
		limit        error
		class        fault.Class
		caller       bool
	}{
		{name: "token", method: images, md: metadata.Pairs(TokenKey, "good"), caller: true},
		{name: "service token too", method: images, md: metadata.Pairs(TokenKey, "good", ServiceTokenKey, "nova"), caller: true},
		{name: "no token", method: images, class: fault.Unauthenticated},
		{name: "wrong token", method: images, md: metadata.Pairs(TokenKey, "bad"), class: fault.Unauthenticated},
		{name: "wrong service token", method: images, md: metadata.Pairs(TokenKey, "good", ServiceTokenKey, "x"), class: fault.Unauthenticated},
		{name: "two tokens", method: images, md: metadata.Pairs(TokenKey, "good", TokenKey, "good"), class: fault.Unauthenticated},
		{name: "endless token", method: images, md: metadata.Pairs(TokenKey, strings.Repeat("x", longestToken+1)), class: fault.Unauthenticated},
		{name: "too many calls", method: images, md: metadata.Pairs(TokenKey, "good"), limit: busy, class: fault.Exhausted},
		{name: "health is open", method: "/grpc.health.v1.Health/Check"},
		{name: "reflection is open", method: "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"},
		{name: "a name like it is not", method: "/grpc.health.v1.HealthX/Check", class: fault.Unauthenticated},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := Authentication{Verifier: door{shared}, Limit: func(*auth.Caller) error { return tt.limit }}
			ctx := context.WithValue(metadata.NewIncomingContext(t.Context(), tt.md), keyRequestID, "req-1")
			var got *auth.Caller
			var token string
			_, err := a.Unary(ctx, nil, &grpc.UnaryServerInfo{FullMethod: tt.method}, func(ctx context.Context, _ any) (any, error) {
				got, token = auth.From(ctx), auth.TokenFrom(ctx)
				return nil, nil
			})
			if tt.class != 0 {
				if !fault.Is(err, tt.class) || got != nil {
					t.Fatalf("got %v and caller %v, want %v", err, got, tt.class)
				}
				return
			}
			if err != nil || (got != nil) != tt.caller || (token == "good") != tt.caller {
				t.Fatalf("got %v, caller %v and token %q", err, got, token)
			}
			if tt.caller && (got.UserID != "u" || got.RequestID != "req-1" || shared.RequestID != "") {
				t.Errorf("caller %+v, shared one %+v", got, shared)
			}
		})
	}
}
