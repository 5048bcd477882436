package identity

import (
	"bytes"
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/atoll-dcn/atoll/pkg/fault"
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

const life = 30 * 24 * time.Hour

// patience bounds every wait of the tests.
const patience = time.Minute

// fakeHub issues certificates to whoever asks. Queued faults come first; answer, if set, changes what is answered.
type fakeHub struct {
	agentv1.UnimplementedEnrollmentServiceServer
	t     *testing.T
	ca    *pki.CA
	clock *clock
	addr  string
	begun atomic.Int64 // calls that have arrived, also those that wait for mu

	mu     sync.Mutex
	secret string // of the token that works
	faults []error
	calls  int
	answer func(*agentv1.RenewResponse)
}

func startHub(t *testing.T, c *clock) *fakeHub {
	t.Helper()
	ca, err := pki.OpenCA(t.TempDir(), c.now())
	if err != nil {
		t.Fatal(err)
	}
	h := &fakeHub{t: t, ca: ca, clock: c}
	server := rpc.NewServer(rpc.ServerOptions{Log: hclog.NewNullLogger(), TLS: ca.ServerConfig(c.now)})
	agentv1.RegisterEnrollmentServiceServer(server, h)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := receive(t, done, "the hub to stop"); err != nil {
			t.Errorf("hub: %v", err)
		}
	})
	return h
}

// receive waits for how something ended.
func receive(t *testing.T, done <-chan error, what string) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
		return nil
	}
}

func (h *fakeHub) token(site image.SiteID) string {
	token := pki.NewJoinToken(site, h.ca.Fingerprint())
	h.mu.Lock()
	defer h.mu.Unlock()
	h.secret = token.Secret
	return token.String()
}

// asked returns how many calls have arrived.
func (h *fakeHub) asked() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.calls
}

func (h *fakeHub) failNext(errs ...error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults = append(h.faults, errs...)
}

func (h *fakeHub) Join(_ context.Context, r *agentv1.JoinRequest) (*agentv1.JoinResponse, error) {
	a, err := h.issue("dcn0", r.GetCsr(), func() error {
		if r.GetToken() != h.secret {
			return fault.New(fault.Denied, "TOKEN_INVALID", "the join token does not work")
		}
		h.secret = ""
		return nil
	})
	return &agentv1.JoinResponse{SiteId: "dcn0", Certificate: a.GetCertificate(), CaCertificates: a.GetCaCertificates()}, err
}

func (h *fakeHub) Renew(_ context.Context, r *agentv1.RenewRequest) (*agentv1.RenewResponse, error) {
	return h.issue("dcn0", r.GetCsr(), func() error { return nil })
}

func (h *fakeHub) issue(site image.SiteID, csr []byte, allow func() error) (*agentv1.RenewResponse, error) {
	h.begun.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls++
	if len(h.faults) > 0 {
		err := h.faults[0]
		h.faults = h.faults[1:]
		return nil, err
	}
	if err := allow(); err != nil {
		return nil, err
	}
	key, err := pki.ParseCSR(csr)
	if err != nil {
		return nil, err
	}
	cert, err := h.ca.IssueAgent(site, key, h.clock.now(), life)
	if err != nil {
		return nil, err
	}
	a := &agentv1.RenewResponse{Certificate: cert.Raw, CaCertificates: [][]byte{h.ca.Certificates()[0].Raw}}
	if h.answer != nil {
		h.answer(a)
	}
	return a, nil
}

// setup returns a hub and the options with which its agent joins.
func setup(t *testing.T) (*fakeHub, JoinOptions) {
	t.Helper()
	c := &clock{t: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	h := startHub(t, c)
	return h, JoinOptions{Token: h.token("dcn0"), Site: "dcn0", Hub: h.addr, StateDir: t.TempDir(), Version: "test", Now: c.now}
}

// joined returns a keeper of an agent that has joined, and what it logs.
func joined(t *testing.T) (*fakeHub, JoinOptions, *Keeper, *bytes.Buffer) {
	t.Helper()
	h, o := setup(t)
	if _, err := Join(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	log := &bytes.Buffer{}
	k, err := Open(KeeperConfig{
		StateDir: o.StateDir, Site: "dcn0", Hub: h.addr, Version: "test", Now: h.clock.now, Log: hclog.New(&hclog.LoggerOptions{Output: log}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return h, o, k, log
}
