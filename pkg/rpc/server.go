package rpc

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
)

// stopGrace is how long running calls may go on after a server has been told to stop.
const stopGrace = 5 * time.Second

// ServerOptions says how to make a server.
type ServerOptions struct {
	Log hclog.Logger
	// TLS is nil for plaintext.
	TLS *tls.Config
	// HandshakeFailed, if not nil, hears of connections whose TLS handshake failed, for example because the client does not
	// trust this server. It is called from many goroutines.
	HandshakeFailed func(address string, err error)
	// Unary and Stream run after the interceptors of this package, which turn their errors into statuses.
	Unary  []grpc.UnaryServerInterceptor
	Stream []grpc.StreamServerInterceptor
	// Public registers health and reflection: for the API that people and tools call.
	Public bool
	// MaxStreams bounds the calls at once on one connection; 0 means 256.
	MaxStreams uint32

	grace time.Duration // 0 means stopGrace
}

// Server is a gRPC server. Register services, then Run it once.
type Server struct {
	grpc     *grpc.Server
	health   *health.Server
	log      hclog.Logger
	grace    time.Duration
	stopping chan struct{}
	once     sync.Once
}

// NewServer returns a server that does not listen yet.
func NewServer(o ServerOptions) *Server {
	s := &Server{log: o.Log, grace: cmp.Or(o.grace, stopGrace), stopping: make(chan struct{})}
	if o.MaxStreams == 0 {
		o.MaxStreams = 256
	}
	opts := []grpc.ServerOption{
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: serverPingGap, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: serverPing, Timeout: serverPingWait}),
		grpc.MaxRecvMsgSize(MaxMessage),
		grpc.MaxSendMsgSize(MaxMessage),
		grpc.MaxConcurrentStreams(o.MaxStreams),
		grpc.MaxHeaderListSize(16 << 10),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.ChainUnaryInterceptor(append([]grpc.UnaryServerInterceptor{s.unary}, o.Unary...)...),
		grpc.ChainStreamInterceptor(append([]grpc.StreamServerInterceptor{s.stream}, o.Stream...)...),
	}
	if o.TLS != nil {
		creds := credentials.NewTLS(o.TLS)
		if o.HandshakeFailed != nil {
			creds = watched{creds, o.HandshakeFailed}
		}
		opts = append(opts, grpc.Creds(creds))
	}
	s.grpc = grpc.NewServer(opts...)
	if o.Public {
		s.health = health.NewServer()
		healthv1.RegisterHealthServer(s.grpc, s.health)
		reflection.Register(s.grpc)
	}
	return s
}

// RegisterService registers a service; it is called by the generated Register functions, before Run.
func (s *Server) RegisterService(d *grpc.ServiceDesc, impl any) { s.grpc.RegisterService(d, impl) }

// Run serves on l until ctx ends or serving fails, and closes l. When ctx ends, new calls are refused, Stopping is closed,
// and running calls get 5 s before they are cancelled. Run returns when the last handler has returned.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	s.serving(healthv1.HealthCheckResponse_SERVING)
	served := make(chan error, 1)
	go func() { served <- s.grpc.Serve(l) }()
	var err error
	select {
	case err = <-served:
		s.stop()
	case <-ctx.Done():
		s.stop()
		if err = <-served; errors.Is(err, grpc.ErrServerStopped) {
			err = nil // it was told to stop before it began
		}
	}
	return err
}

func (s *Server) serving(state healthv1.HealthCheckResponse_ServingStatus) {
	if s.health == nil {
		return
	}
	for name := range s.grpc.GetServiceInfo() {
		s.health.SetServingStatus(name, state)
	}
	s.health.SetServingStatus("", state)
}

// stop ends the server: gracefully while the grace lasts, then hard. GracefulStop alone would wait for open streams for ever.
func (s *Server) stop() {
	s.once.Do(func() {
		if s.health != nil {
			s.health.Shutdown()
		}
		close(s.stopping)
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.grpc.GracefulStop()
		}()
		t := time.NewTimer(s.grace)
		defer t.Stop()
		select {
		case <-done:
		case <-t.C:
			s.log.Warn("calls outlived the grace time and are cancelled")
			s.grpc.Stop()
			<-done
		}
	})
}
