package auth

import "context"

type tokenKey struct{}

// WithToken returns a context that carries the token a caller has sent, for requests that are made to other services in the
// caller's name. It must not outlive the request: neither stored nor logged.
func WithToken(ctx context.Context, token string) context.Context {
	if token == "" {
		return ctx
	}
	return context.WithValue(ctx, tokenKey{}, token)
}

// TokenFrom returns the token of the caller, empty when there is none, as in work that the hub does by itself.
func TokenFrom(ctx context.Context) string {
	token, _ := ctx.Value(tokenKey{}).(string)
	return token
}
