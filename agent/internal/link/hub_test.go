package link

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/atoll-dcn/atoll/pkg/retry"
	"github.com/atoll-dcn/atoll/pkg/rpc"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of the tests.
const patience = time.Minute

type hubStream = agentv1.SessionService_ConnectServer

// script is what the hub does with one session.
type script func(hubStream) error

// fakeHub carries out one script for each session.
type fakeHub struct {
	agentv1.UnimplementedSessionServiceServer
	t       *testing.T
	addr    string
	scripts chan script
	stop    func() // ends the server and all sessions
}

// startHub starts a hub on addr, which is a unix:PATH; "" means any port of loopback.
func startHub(t *testing.T, addr string) *fakeHub {
	t.Helper()
	network, path := "tcp", "127.0.0.1:0"
	if addr != "" {
		network, path, _ = strings.Cut(addr, ":")
	}
	l, err := net.Listen(network, path)
	if err != nil {
		t.Fatal(err)
	}
	if addr == "" {
		addr = l.Addr().String()
	}
	h := &fakeHub{t: t, addr: addr, scripts: make(chan script, 100)}
	server := rpc.NewServer(rpc.ServerOptions{Log: hclog.NewNullLogger()})
	agentv1.RegisterSessionServiceServer(server, h)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx, l) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := receive(t, done, "the hub to stop"); err != nil {
			t.Errorf("hub: %v", err)
		}
	})
	t.Cleanup(h.stop)
	return h
}

func (h *fakeHub) Connect(s hubStream) error {
	select {
	case run := <-h.scripts:
		return run(s)
	case <-s.Context().Done():
		return s.Context().Err()
	case <-rpc.Stopping(s.Context()):
		return errors.New("stopping")
	}
}

// welcome reads Hello and answers.
func welcome(s hubStream, epoch uint64, beat time.Duration) (*agentv1.Hello, error) {
	m, err := s.Recv()
	if err != nil {
		return nil, err
	}
	return m.GetHello(), s.Send(&agentv1.ConnectResponse{SessionEpoch: epoch, Body: &agentv1.ConnectResponse_Welcome{
		Welcome: &agentv1.Welcome{Protocol: Protocol, HeartbeatInterval: durationpb.New(beat), HubVersion: "v-hub"},
	}})
}

func desired(epoch, revision uint64) *agentv1.ConnectResponse {
	return &agentv1.ConnectResponse{SessionEpoch: epoch, Body: &agentv1.ConnectResponse_Desired{Desired: &agentv1.Desired{Revision: revision}}}
}

// hold keeps a session open until the agent or the server ends it.
func hold(s hubStream) error {
	select {
	case <-s.Context().Done():
	case <-rpc.Stopping(s.Context()):
	}
	return errors.New("over")
}

// site is the agent's replicas: it records what happens to it.
type site struct {
	changed chan struct{}
	applied chan *agentv1.Desired
	offline chan struct{}

	mu    sync.Mutex
	all   *agentv1.Observed
	delta *agentv1.Observed
}

func newSite() *site {
	return &site{
		changed: make(chan struct{}, 1), applied: make(chan *agentv1.Desired, 1000), offline: make(chan struct{}, 1000),
		all: &agentv1.Observed{Snapshot: true, Stores: []*agentv1.StoreStatus{{StoreId: "s0"}}},
	}
}

func (s *site) Apply(d *agentv1.Desired) { s.applied <- d }
func (s *site) Changed() <-chan struct{} { return s.changed }
func (s *site) Stores() []*agentv1.StoreStatus {
	return []*agentv1.StoreStatus{{StoreId: "s0", Driver: "file"}}
}

// Offline never blocks: without a hub sessions end as long as the test lets them.
func (s *site) Offline() {
	select {
	case s.offline <- struct{}{}:
	default:
	}
}

func (s *site) Snapshot() *agentv1.Observed {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &agentv1.Observed{Snapshot: true, Replicas: s.all.Replicas, Stores: s.all.Stores}
}

func (s *site) Take() *agentv1.Observed {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.delta
	s.delta = nil
	return d
}

// change makes Take return a replica. It never blocks.
func (s *site) change(id string) {
	s.mu.Lock()
	s.delta = &agentv1.Observed{Replicas: []*agentv1.ObservedReplica{{ImageId: id}}}
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// waiting is a link's Awaited with one message.
type waiting struct {
	changed chan struct{}
	next    atomic.Pointer[agentv1.Awaited]
}

func (w *waiting) Changed() <-chan struct{} { return w.changed }
func (w *waiting) Take() *agentv1.Awaited   { return w.next.Swap(nil) }

// say makes Take return a message.
func (w *waiting) say(m *agentv1.Awaited) {
	w.next.Store(m)
	w.changed <- struct{}{}
}

// safeLog is a log that may be read while it is written.
type safeLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *safeLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *safeLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// agent is a running link.
type agent struct {
	*Link
	site  *site
	log   *safeLog
	stop  func()
	mu    sync.Mutex
	dials int
}

func (a *agent) dialled() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.dials
}

// startAgent runs a link to addr. It waits 10 ms at most between sessions, and long for a welcome; adjust changes it before
// it runs.
func startAgent(t *testing.T, addr string, adjust func(*agent)) *agent {
	t.Helper()
	a := &agent{site: newSite(), log: &safeLog{}}
	a.Link = New(Config{
		Dial: func() (Conn, error) {
			a.mu.Lock()
			a.dials++
			a.mu.Unlock()
			return rpc.Dial(addr, rpc.DialOptions{})
		},
		Replicas: a.site, Version: "v-agent", Instance: "i-1", Log: hclog.New(&hclog.LoggerOptions{Output: a.log}),
	})
	a.policy, a.hello = retry.Policy{Initial: 5 * time.Millisecond, Max: 10 * time.Millisecond}, patience
	if adjust != nil {
		adjust(a)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	a.stop = sync.OnceFunc(func() {
		cancel()
		if err := receive(t, done, "the link to stop"); err != nil {
			t.Errorf("link: %v", err)
		}
	})
	t.Cleanup(a.stop)
	return a
}

// receive waits for a value.
func receive[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}
