package identity

import (
	"bytes"
	"context"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/catalog/catalogtest"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/pki"
	"github.com/atoll-dcn/atoll/pkg/rpc"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a clock that only the test moves.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// hub is an authority behind real ports on loopback: gRPC and frames.
type hub struct {
	t *testing.T
	*Authority
	clock    *clock
	records  *catalogtest.Records
	registry *prometheus.Registry
	log      *bytes.Buffer
	link     string
	frames   *httptest.Server
	echo     *echo
}

// expiry returns when the certificate of the latest session expires.
func (h *hub) expiry() time.Time { return *h.echo.expiry.Load() }

const (
	tokenLife = 24 * time.Hour
	certLife  = 30 * 24 * time.Hour
)

// startHub starts a hub with the sites.
func startHub(t *testing.T, sites ...image.SiteID) *hub {
	t.Helper()
	h := &hub{
		t: t, clock: &clock{t: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}, records: catalogtest.New(),
		registry: prometheus.NewRegistry(), log: &bytes.Buffer{},
	}
	ca, err := pki.OpenCA(t.TempDir(), h.clock.now())
	if err != nil {
		t.Fatal(err)
	}
	cat := catalog.New(h.records, "central", catalog.DefaultLimits(), h.clock.now)
	for _, s := range sites {
		if _, err := cat.CreateSite(t.Context(), s, ""); err != nil {
			t.Fatal(err)
		}
	}
	h.Authority = New(Config{
		CA: ca, Catalog: cat, TokenLife: tokenLife, CertificateLife: certLife, Registry: h.registry, Now: h.clock.now,
		Log: hclog.New(&hclog.LoggerOptions{Output: h.log, Level: hclog.Info}),
	})
	server := rpc.NewServer(rpc.ServerOptions{
		Log: hclog.NewNullLogger(), TLS: ca.ServerConfig(h.clock.now), HandshakeFailed: h.HandshakeFailed,
		Unary: []grpc.UnaryServerInterceptor{h.Unary}, Stream: []grpc.StreamServerInterceptor{h.Stream},
	})
	agentv1.RegisterEnrollmentServiceServer(server, h.Enrollment())
	h.echo = &echo{}
	agentv1.RegisterSessionServiceServer(server, h.echo)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.link = l.Addr().String()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx, l) }()
	h.frames = httptest.NewUnstartedServer(h.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		site, _, _ := Caller(r.Context())
		_, _ = w.Write([]byte(site))
	})))
	h.frames.TLS = ca.ServerConfig(h.clock.now, "http/1.1")
	h.frames.StartTLS()
	t.Cleanup(func() {
		h.frames.Close()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("server: %v", err)
		}
	})
	return h
}

// echo is a session service that says who is calling.
type echo struct {
	agentv1.UnimplementedSessionServiceServer
	expiry atomic.Pointer[time.Time]
}

func (e *echo) Connect(s agentv1.SessionService_ConnectServer) error {
	expiry := Expiry(s.Context())
	e.expiry.Store(&expiry)
	site, _, err := Caller(s.Context())
	if err != nil {
		return err
	}
	return s.Send(&agentv1.ConnectResponse{Body: &agentv1.ConnectResponse_Goodbye{Goodbye: &agentv1.Goodbye{Reason: string(site)}}})
}

// token returns a fresh join token for a site.
func (h *hub) token(site image.SiteID) pki.JoinToken {
	h.t.Helper()
	text, _, err := h.CreateToken(h.t.Context(), site)
	if err != nil {
		h.t.Fatal(err)
	}
	token, err := pki.ParseJoinToken("token", text)
	if err != nil {
		h.t.Fatal(err)
	}
	return token
}

// join calls Join as an agent does.
func (h *hub) join(token pki.JoinToken) (*pki.Identity, error) {
	key, csr := newCSR(h.t)
	conn, err := rpc.Dial(h.link, rpc.DialOptions{TLS: pki.JoinConfig(h.clock.now, token.Fingerprint)})
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	r, err := agentv1.NewEnrollmentServiceClient(conn).Join(h.t.Context(), &agentv1.JoinRequest{Token: token.Secret, Csr: csr})
	if err != nil {
		return nil, err
	}
	if r.GetSiteId() != string(token.Site) {
		h.t.Errorf("joined as %q, the token is for %q", r.GetSiteId(), token.Site)
	}
	key.Cert, key.CAs = parse(h.t, r.GetCertificate()), []*x509.Certificate{parse(h.t, r.GetCaCertificates()[0])}
	return key, nil
}

// joined returns the identity of a site that has joined.
func (h *hub) joined(site image.SiteID) *pki.Identity {
	h.t.Helper()
	id, err := h.join(h.token(site))
	if err != nil {
		h.t.Fatal(err)
	}
	return id
}

// connect opens a session and returns the site the hub sees.
func (h *hub) connect(id *pki.Identity) (string, error) {
	conn, err := rpc.Dial(h.link, rpc.DialOptions{TLS: pki.ClientConfig(h.clock.now, func() *pki.Identity { return id })})
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	s, err := agentv1.NewSessionServiceClient(conn).Connect(h.t.Context())
	if err != nil {
		return "", err
	}
	m, err := s.Recv()
	return m.GetGoodbye().GetReason(), err
}

// renew calls Renew as an agent does.
func (h *hub) renew(id *pki.Identity) (*pki.Identity, error) {
	key, csr := newCSR(h.t)
	conn, err := rpc.Dial(h.link, rpc.DialOptions{TLS: pki.ClientConfig(h.clock.now, func() *pki.Identity { return id })})
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	r, err := agentv1.NewEnrollmentServiceClient(conn).Renew(h.t.Context(), &agentv1.RenewRequest{Csr: csr})
	if err != nil {
		return nil, err
	}
	key.Cert, key.CAs = parse(h.t, r.GetCertificate()), id.CAs
	return key, nil
}

func newCSR(t *testing.T) (*pki.Identity, []byte) {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := pki.NewCSR(key)
	if err != nil {
		t.Fatal(err)
	}
	return &pki.Identity{Key: key}, csr
}

func parse(t *testing.T, der []byte) *x509.Certificate {
	t.Helper()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
