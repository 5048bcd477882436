package rpc

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// begin gives a request its id, its logger and the server's stop signal.
func (s *Server) begin(ctx context.Context, method string) (context.Context, func(error) error) {
	id := incomingID(ctx)
	log := s.log.With("request", id, "method", method)
	ctx = context.WithValue(ctx, keyRequestID, id)
	ctx = context.WithValue(ctx, keyStopping, s.stopping)
	ctx = hclog.WithContext(ctx, log)
	start := time.Now()
	return ctx, func(err error) error {
		mapped := toStatus(err, id)
		code := status.Code(mapped)
		if err != nil && fault.ClassOf(err) == fault.Internal && fault.ClassOf(FromStatus(err)) == fault.Internal {
			log.Error("request failed", "error", err)
		}
		log.Debug("request served", "code", code.String(), "duration", time.Since(start), "error", err)
		return mapped
	}
}

func (s *Server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	ctx, end := s.begin(ctx, info.FullMethod)
	_ = grpc.SetHeader(ctx, metadata.Pairs(requestIDKey, RequestID(ctx)))
	res, err := guard(ctx, func() (any, error) { return next(ctx, req) })
	if err != nil {
		return nil, end(err)
	}
	return res, end(nil)
}

func (s *Server) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	ctx, end := s.begin(ss.Context(), info.FullMethod)
	_ = ss.SetHeader(metadata.Pairs(requestIDKey, RequestID(ctx)))
	_, err := guard(ctx, func() (any, error) { return nil, next(srv, WithContext(ctx, ss)) })
	return end(err)
}

// guard calls a handler and turns a panic into an Internal error.
func guard(ctx context.Context, call func() (any, error)) (res any, err error) {
	defer func() {
		if v := recover(); v != nil {
			Logger(ctx).Error("handler panicked", "panic", v, "stack", string(debug.Stack()))
			res, err = nil, fault.New(fault.Internal, "PANIC", "panic: %s", fmt.Sprint(v))
		}
	}()
	return call()
}

// contextStream is a server stream with another context.
type contextStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // a stream carries its context, and this is one
}

// Context returns the replaced context.
func (s contextStream) Context() context.Context { return s.ctx }

// WithContext returns the stream with its context replaced by one derived from it.
func WithContext(ctx context.Context, s grpc.ServerStream) grpc.ServerStream {
	return contextStream{s, ctx}
}

func (r refusals) unary(ctx context.Context, method string, req, res any, cc *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return r.explain(FromStatus(next(withOutgoingID(ctx), method, req, res, cc, opts...)))
}

func (r refusals) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, next grpc.Streamer,
	opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	s, err := next(withOutgoingID(ctx), desc, cc, method, opts...)
	if err != nil {
		return nil, r.explain(FromStatus(err))
	}
	return faultStream{s}, nil
}

// faultStream is a client stream whose errors are fault errors.
type faultStream struct{ grpc.ClientStream }

// Header implements grpc.ClientStream.
func (s faultStream) Header() (metadata.MD, error) {
	md, err := s.ClientStream.Header()
	return md, FromStatus(err)
}

// CloseSend implements grpc.ClientStream.
func (s faultStream) CloseSend() error { return FromStatus(s.ClientStream.CloseSend()) }

// SendMsg implements grpc.ClientStream.
func (s faultStream) SendMsg(m any) error { return FromStatus(s.ClientStream.SendMsg(m)) }

// RecvMsg implements grpc.ClientStream.
func (s faultStream) RecvMsg(m any) error { return FromStatus(s.ClientStream.RecvMsg(m)) }
