package rpc

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// silent returns the address of a server that accepts connections and never says anything.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // nobody accepts: the kernel does
	return l.Addr().String()
}

// closed returns an address that refuses connections. Nobody else listens there and could get the port.
func closed(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.77:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func TestDialTriesOneServerAfterTheOther(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(ServerOptions{Log: hclog.NewNullLogger(), Public: true})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, l) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	conn, err := Dial(closed(t)+", "+silent(t)+","+l.Addr().String(), DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	call, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	_, err = grpc_health_v1.NewHealthClient(conn).Check(call, &grpc_health_v1.HealthCheckRequest{})
	if fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Timeout) {
		t.Fatalf("got %v", err)
	}
}

func TestDialRefusesBadLists(t *testing.T) {
	for _, target := range []string{"a:1,", ",a:1", "a:1,unix:/run/x"} {
		if _, err := Dial(target, DialOptions{}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: got %v", target, err)
		}
	}
}
