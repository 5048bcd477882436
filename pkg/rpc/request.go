package rpc

import (
	"context"
	"regexp"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/metadata"

	"github.com/atoll-dcn/atoll/pkg/image"
)

// requestIDKey is the metadata key that carries the request id from client to server and back.
const requestIDKey = "x-request-id"

var requestIDPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

type contextKey int

const (
	keyRequestID contextKey = iota
	keyStopping
)

// RequestID returns the id of the request being served; empty outside a request.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(keyRequestID).(string)
	return id
}

// Logger returns the logger of the request being served; it names the request.
func Logger(ctx context.Context) hclog.Logger { return hclog.FromContext(ctx) }

// Stopping returns a channel that is closed when the server begins to stop. Handlers of long streams watch it and end
// by themselves; after the grace time their contexts are cancelled. Outside a request it is nil.
func Stopping(ctx context.Context) <-chan struct{} {
	c, _ := ctx.Value(keyStopping).(chan struct{})
	return c
}

// incomingID returns the caller's request id if it is a sane one, else a fresh one.
func incomingID(ctx context.Context) string {
	if ids := metadata.ValueFromIncomingContext(ctx, requestIDKey); len(ids) == 1 && requestIDPattern.MatchString(ids[0]) {
		return ids[0]
	}
	return newRequestID()
}

// newRequestID returns an id in the form that OpenStack's logs are searched for.
func newRequestID() string { return "req-" + string(image.NewID()) }

// withOutgoingID adds a request id to an outgoing call: the one of the request being served, if any, else a fresh one.
func withOutgoingID(ctx context.Context) context.Context {
	if md, ok := metadata.FromOutgoingContext(ctx); ok && len(md.Get(requestIDKey)) > 0 {
		return ctx
	}
	id := RequestID(ctx)
	if id == "" {
		id = newRequestID()
	}
	return metadata.AppendToOutgoingContext(ctx, requestIDKey, id)
}
