// Package identity decides which agents the hub talks to: it issues their certificates for join tokens, renews and
// revokes them, and checks them on every call. The site is always read from the certificate.
package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/pki"
	"github.com/atoll-dcn/atoll/pkg/rpc"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// Config is what an Authority needs.
type Config struct {
	CA              *pki.CA
	Catalog         *catalog.Catalog
	TokenLife       time.Duration // how long a join token works
	CertificateLife time.Duration // how long an agent's certificate works
	Log             hclog.Logger
	Registry        prometheus.Registerer
	Now             func() time.Time
}

// Authority issues and checks certificates. Methods may be called at the same time.
type Authority struct {
	Config
	refused *refusals
	joins   *limiter
}

// New returns an authority.
func New(c Config) *Authority {
	return &Authority{Config: c, refused: newRefusals(c), joins: newLimiter(c.Now)}
}

// siteKey is the context key of the caller's identity.
type siteKey struct{}

type caller struct {
	site    image.SiteID
	address string
	expires time.Time
}

// Caller returns the verified site of an agent's call and the address it comes from.
func Caller(ctx context.Context) (image.SiteID, string, error) {
	c, ok := ctx.Value(siteKey{}).(caller)
	if !ok {
		return "", "", fault.New(fault.Unauthenticated, "CERT_MISSING", "no client certificate; the agent must join first")
	}
	return c.site, c.address, nil
}

// Expiry returns when the verified certificate of an agent's call expires; zero for a call without one.
func Expiry(ctx context.Context) time.Time {
	c, _ := ctx.Value(siteKey{}).(caller)
	return c.expires
}

// check verifies the certificate of a connection and that its site knows it. Refusals are logged and remembered.
func (a *Authority) check(state *tls.ConnectionState, address string) (caller, error) {
	var cert *x509.Certificate
	if state != nil && len(state.PeerCertificates) > 0 {
		cert = state.PeerCertificates[0]
	}
	site, err := pki.VerifyAgent(a.Now(), a.CA.Certificates(), cert)
	if err == nil {
		err = a.known(site, cert)
	}
	if err != nil {
		a.refused.note(cert, address, err)
		return caller{}, err
	}
	return caller{site, address, cert.NotAfter}, nil
}

// known checks that the site exists and that the certificate is one it may use.
func (a *Authority) known(site image.SiteID, cert *x509.Certificate) error {
	record, _ := a.Catalog.Read().Site(site)
	if record == nil {
		return fault.New(fault.Denied, "SITE_UNKNOWN", "the hub has no site %s; it may have been deleted", site)
	}
	serial := pki.Serial(cert)
	for _, c := range record.Certificates {
		if c.Serial != serial {
			continue
		}
		if c.Revoked {
			return fault.New(fault.Denied, "CERT_REVOKED", "the certificate of site %s has been revoked; the agent must join again", site)
		}
		return nil
	}
	return fault.New(fault.Denied, "CERT_UNKNOWN", "the certificate of site %s is not one the hub has issued to it; the agent must join again", site)
}

// open lists the methods that need no certificate.
var open = map[string]bool{agentv1.EnrollmentService_Join_FullMethodName: true}

// Unary is the interceptor for calls.
func (a *Authority) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if !open[info.FullMethod] {
		var err error
		if ctx, err = a.grpcCaller(ctx); err != nil {
			return nil, err
		}
	}
	return next(ctx, req)
}

// Stream is the interceptor for streams.
func (a *Authority) Stream(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	ctx, err := a.grpcCaller(s.Context())
	if err != nil {
		return err
	}
	return next(srv, rpc.WithContext(ctx, s))
}

func (a *Authority) grpcCaller(ctx context.Context) (context.Context, error) {
	p, _ := peer.FromContext(ctx)
	var state *tls.ConnectionState
	address := ""
	if p != nil {
		if t, ok := p.AuthInfo.(credentials.TLSInfo); ok {
			state = &t.State
		}
		address = host(p.Addr.String())
	}
	c, err := a.check(state, address)
	if err != nil {
		return nil, err
	}
	return context.WithValue(ctx, siteKey{}, c), nil
}

// Middleware checks the client certificate of every HTTP request before next sees it. A refused connection is closed.
func (a *Authority) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := a.check(r.TLS, host(r.RemoteAddr))
		if err != nil {
			w.Header().Set("Connection", "close") // the agent may have a better certificate for its next connection
			frame.WriteFault(w, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), siteKey{}, c)))
	})
}

// HandshakeFailed hears of connections whose handshake failed, most often because the agent does not trust this hub.
func (a *Authority) HandshakeFailed(address string, err error) {
	a.refused.note(nil, host(address), fault.Wrap(err, fault.Unauthenticated, "HANDSHAKE_FAILED", "the TLS handshake failed"))
}

// LastRefusal returns why and when a connection that claimed to be of a site was last refused; empty if none was since
// the hub started.
func (a *Authority) LastRefusal(site image.SiteID) (reason string, at time.Time) {
	return a.refused.last(site)
}

// host strips the port of an address.
func host(address string) string {
	if h, _, err := net.SplitHostPort(address); err == nil {
		return h
	}
	return address
}
