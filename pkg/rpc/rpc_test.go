package rpc

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service is a health service whose answers the test decides.
type service struct {
	healthv1.UnimplementedHealthServer
	check func(ctx context.Context, name string) error
	watch func(ctx context.Context, send func() error) error
}

func (s service) Check(ctx context.Context, r *healthv1.HealthCheckRequest) (*healthv1.HealthCheckResponse, error) {
	return &healthv1.HealthCheckResponse{}, s.check(ctx, r.GetService())
}

func (s service) Watch(_ *healthv1.HealthCheckRequest, w healthv1.Health_WatchServer) error {
	return s.watch(w.Context(), func() error { return w.Send(&healthv1.HealthCheckResponse{}) })
}

// start runs a server with impl on loopback and returns a client; stop ends the server and waits for it.
func start(t *testing.T, o ServerOptions, impl healthv1.HealthServer) (c healthv1.HealthClient, stop func()) {
	t.Helper()
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	s := NewServer(o)
	if impl != nil {
		healthv1.RegisterHealthServer(s, impl)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, l) }()
	conn, err := Dial(l.Addr().String(), DialOptions{UserAgent: "test"})
	if err != nil {
		t.Fatal(err)
	}
	stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("server: %v", err)
		}
		done <- nil
	}
	t.Cleanup(func() {
		stop()
		_ = conn.Close()
	})
	return healthv1.NewHealthClient(conn), stop
}

func TestErrorsCrossTheWire(t *testing.T) {
	var log strings.Builder
	c, stop := start(t, ServerOptions{Log: hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Debug})}, service{
		check: func(_ context.Context, name string) error {
			if name == "panic" {
				panic("boom")
			}
			return fault.BadField("service", "%q is unknown", name)
		},
		watch: func(context.Context, func() error) error {
			return fault.New(fault.Denied, "CERT_FOREIGN", "who are you")
		},
	})
	ctx := metadata.AppendToOutgoingContext(t.Context(), requestIDKey, "my-request")

	_, err := c.Check(ctx, &healthv1.HealthCheckRequest{Service: "x"})
	if e, _ := fault.As(err); e == nil || e.Class != fault.Invalid || len(e.Fields) != 1 || e.Fields[0].Name != "service" {
		t.Errorf("unary: got %#v", err)
	}
	_, err = c.Check(ctx, &healthv1.HealthCheckRequest{Service: "panic"})
	if !fault.Is(err, fault.Internal) || strings.Contains(err.Error(), "boom") || !strings.Contains(err.Error(), "my-request") {
		t.Errorf("panic: got %v", err)
	}
	w, err := c.Watch(ctx, &healthv1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = w.Recv(); fault.ReasonOf(err) != "CERT_FOREIGN" || !fault.Is(err, fault.Denied) {
		t.Errorf("stream: got %v", err)
	}
	stop()
	if out := log.String(); !strings.Contains(out, "boom") || !strings.Contains(out, "request=my-request") {
		t.Errorf("log lacks the panic or the request id:\n%s", out)
	}
}

func TestRequestIDs(t *testing.T) {
	seen := make(chan string, 1)
	c, _ := start(t, ServerOptions{}, service{check: func(ctx context.Context, _ string) error {
		seen <- RequestID(ctx)
		return nil
	}})
	for _, sent := range []string{"abc-1", "", "bad id with junk"} {
		ctx := t.Context()
		if sent != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, requestIDKey, sent)
		}
		var header metadata.MD
		if _, err := c.Check(ctx, &healthv1.HealthCheckRequest{}, grpc.Header(&header)); err != nil {
			t.Fatal(err)
		}
		got := <-seen
		if sent == "abc-1" && got != sent || sent != "abc-1" && len(got) != 40 {
			t.Errorf("sent %q, handler saw %q", sent, got)
		}
		if back := header.Get(requestIDKey); len(back) != 1 || back[0] != got {
			t.Errorf("sent %q, got back %v, handler saw %q", sent, back, got)
		}
	}
}

// TestStop checks that a stream that watches Stopping ends by itself, well within the grace time.
func TestStop(t *testing.T) {
	const grace = time.Minute // however slow the machine is
	c, stop := start(t, ServerOptions{grace: grace}, service{watch: func(ctx context.Context, send func() error) error {
		if err := send(); err != nil {
			return err
		}
		select {
		case <-Stopping(ctx):
			return fault.New(fault.Unavailable, "STOPPING", "the hub is stopping")
		case <-ctx.Done():
			return ctx.Err()
		}
	}})
	w, err := c.Watch(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Recv(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	stop()
	if _, err := w.Recv(); fault.ReasonOf(err) != "STOPPING" {
		t.Errorf("got %v", err)
	}
	if d := time.Since(begin); d >= grace {
		t.Errorf("stopping took %v", d)
	}
}

// TestStopIsBounded checks that a stream that ignores Stopping is cancelled after the grace time.
func TestStopIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("takes the grace time")
	}
	c, stop := start(t, ServerOptions{}, service{watch: func(ctx context.Context, send func() error) error {
		if err := send(); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}})
	w, err := c.Watch(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Recv(); err != nil {
		t.Fatal(err)
	}
	stop()
	if _, err := w.Recv(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
}

func TestPublicServerHasHealth(t *testing.T) {
	c, _ := start(t, ServerOptions{Public: true}, nil)
	r, err := c.Check(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil || r.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("got %v, %v", r, err)
	}
	_, err = c.Check(t.Context(), &healthv1.HealthCheckRequest{Service: "no.such.Service"})
	if !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	conn, err := Dial(closed(t), DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, err = healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
	if fault.ReasonOf(err) != "UNREACHABLE" || !fault.Is(err, fault.Unavailable) {
		t.Errorf("got %v", err)
	}
}

// TestKeepalivePair checks that a server does not end connections of our clients for too many pings.
func TestKeepalivePair(t *testing.T) {
	if clientPing < 2*serverPingGap {
		t.Errorf("clients ping every %v, servers allow every %v", clientPing, serverPingGap)
	}
}

// A server that is told to stop before it has begun to serve has not failed.
func TestStopsBeforeItServes(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := NewServer(ServerOptions{Log: hclog.NewNullLogger()}).Run(ctx, l); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Fatalf("still listening: %v", err)
		}
	}
}
