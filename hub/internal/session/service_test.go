package session

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
	"google.golang.org/grpc/metadata"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/catalog/catalogtest"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/rpc"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is the time, and what a test adds to it.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// book is a log that is read while it is written.
type book struct {
	mu  sync.Mutex
	buf strings.Builder
}

func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *book) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// certLife is how long the certificates of the tests' agents work.
const certLife = time.Hour

// hub is a service on a loopback port with the sites central and dcn0, and a client for agents that tests script.
type hub struct {
	t       *testing.T
	records *catalogtest.Records
	service *Service
	clock   *clock
	log     *book
	client  agentv1.SessionServiceClient
}

func newHub(t *testing.T, heartbeat time.Duration) *hub {
	t.Helper()
	if heartbeat == 0 {
		heartbeat = time.Minute // the agents of most tests say little, and a slow machine is no silence
	}
	return newHubSeeing(t, heartbeat, 0)
}

// newHubSeeing is newHub with a pace at which it is written down who is connected.
func newHubSeeing(t *testing.T, heartbeat, seen time.Duration) *hub {
	t.Helper()
	h := &hub{t: t, records: catalogtest.New(), clock: &clock{}, log: &book{}}
	expires := h.clock.now().Add(certLife)
	cat := catalog.New(h.records, "central", catalog.DefaultLimits(), h.clock.now)
	for _, s := range []image.SiteID{"central", "dcn0"} {
		if _, err := cat.CreateSite(t.Context(), s, ""); err != nil {
			t.Fatal(err)
		}
	}
	changed := func(...image.ID) {}
	h.service = New(Config{
		Catalog: cat, Directory: NewDirectory(h.clock.now, changed), Changed: changed, Heartbeat: heartbeat, SeenEvery: seen, Version: "test",
		Log: hclog.New(&hclog.LoggerOptions{Output: h.log}), Now: h.clock.now,
		Expiry: func(context.Context) time.Time { return expires },
		Peer: func(ctx context.Context) (image.SiteID, string, error) { // instead of a certificate
			md, _ := metadata.FromIncomingContext(ctx)
			return image.SiteID(md.Get("site")[0]), "192.0.2.1", nil
		},
		Desired: func(_ *storev1.Image, r *storev1.Replica) *agentv1.DesiredReplica {
			return &agentv1.DesiredReplica{ImageId: r.ImageId, StoreId: r.StoreId, Generation: r.Generation, Priority: agentv1.Priority(r.Priority)}
		},
	})
	h.service.parting = time.Minute // agents of tests wait for the reason
	server := rpc.NewServer(rpc.ServerOptions{Log: hclog.NewNullLogger()})
	agentv1.RegisterSessionServiceServer(server, h.service)
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- h.service.Run(ctx) }()
	go func() { done <- server.Run(ctx, l) }()
	conn, err := rpc.Dial(l.Addr().String(), rpc.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		cancel()
		<-done
		<-done
	})
	h.client = agentv1.NewSessionServiceClient(conn)
	return h
}

// agent is one connection.
type agent struct {
	agentv1.SessionService_ConnectClient
	t       *testing.T
	welcome *agentv1.Welcome
	epoch   uint64
}

// dial opens a stream as an agent of a site and says hello.
func (h *hub) dial(site string, hello *agentv1.Hello) *agent {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	h.t.Cleanup(cancel)
	stream, err := h.client.Connect(metadata.AppendToOutgoingContext(ctx, "site", site))
	if err != nil {
		h.t.Fatal(err)
	}
	a := &agent{SessionService_ConnectClient: stream, t: h.t}
	if err := stream.Send(&agentv1.ConnectRequest{Body: &agentv1.ConnectRequest_Hello{Hello: hello}}); err != nil {
		h.t.Fatal(err)
	}
	return a
}

// connect is dial up to the welcome.
func (h *hub) connect(site string, stores ...string) *agent {
	h.t.Helper()
	hello := &agentv1.Hello{ProtocolMin: 1, ProtocolMax: 1, AgentVersion: "test"}
	for _, s := range stores {
		hello.Stores = append(hello.Stores, &agentv1.StoreStatus{StoreId: s})
	}
	a := h.dial(site, hello)
	m := a.recv()
	a.welcome, a.epoch = m.GetWelcome(), m.SessionEpoch
	if a.welcome == nil || a.epoch == 0 {
		h.t.Fatalf("instead of a welcome: %v", m)
	}
	return a
}

func (a *agent) recv() *agentv1.ConnectResponse {
	a.t.Helper()
	m, err := a.Recv()
	if err != nil {
		a.t.Fatal(err)
	}
	return m
}

func (a *agent) desired() *agentv1.Desired {
	a.t.Helper()
	m := a.recv()
	if m.GetDesired() == nil {
		a.t.Fatalf("instead of desired state: %v", m)
	}
	return m.GetDesired()
}

// report says with an epoch what the site has of an image, then waits until the hub has taken that in: it answers a
// heartbeat after what came before it.
func (a *agent) report(epoch uint64, img string) {
	a.t.Helper()
	o := &agentv1.Observed{Replicas: []*agentv1.ObservedReplica{{ImageId: img, StoreId: "dcn0", State: present}}}
	beat := &agentv1.ConnectRequest{SessionEpoch: a.epoch, Body: &agentv1.ConnectRequest_Heartbeat{Heartbeat: &agentv1.Heartbeat{}}}
	for _, m := range []*agentv1.ConnectRequest{{SessionEpoch: epoch, Body: &agentv1.ConnectRequest_Observed{Observed: o}}, beat} {
		if err := a.Send(m); err != nil {
			a.t.Fatal(err)
		}
	}
	if m := a.recv(); m.GetHeartbeat() == nil {
		a.t.Fatalf("instead of a heartbeat: %v", m)
	}
}

func wantEnd(t *testing.T, a *agent, class fault.Class, reason string) {
	t.Helper()
	if m, err := a.Recv(); !fault.Is(err, class) || fault.ReasonOf(err) != reason {
		t.Fatalf("got %v, %v, want %s %s", m, err, class, reason)
	}
}

func (h *hub) put(img, store string, generation uint64) {
	h.records.Put(catalog.ReplicaKey(image.ID(img), image.StoreID(store)), &storev1.Replica{ImageId: img, StoreId: store, Generation: generation})
}

func TestSnapshotThenDeltas(t *testing.T) {
	t.Parallel()
	h := newHub(t, 0)
	h.put("a", "dcn0", 1)
	h.put("b", "central", 1)
	a := h.connect("dcn0", "dcn0")
	if a.welcome.Central || a.welcome.Protocol != Protocol || a.welcome.HeartbeatInterval.AsDuration() != time.Minute {
		t.Fatalf("welcome: %v", a.welcome)
	}
	if d := New(Config{}).Heartbeat; d != 5*time.Second {
		t.Fatalf("heartbeats every %s", d)
	}
	if d := a.desired(); !d.Snapshot || d.More || len(d.Replicas) != 1 || d.Replicas[0].ImageId != "a" {
		t.Fatalf("snapshot: %v", d)
	}
	h.put("b", "central", 2) // not this site's
	h.put("a", "dcn0", 2)
	if d := a.desired(); d.Snapshot || len(d.Replicas) != 1 || d.Replicas[0].Generation != 2 {
		t.Fatalf("change: %v", d)
	}
	h.service.SetOffers(map[image.SiteID][]*agentv1.Offer{"dcn0": {{ImageId: "a"}}, "central": {{ImageId: "b"}}})
	if d := a.desired(); len(d.Offers) != 1 || d.Offers[0].ImageId != "a" || len(d.Replicas) != 0 {
		t.Fatalf("offers: %v", d)
	}
	h.records.Put(catalog.ReplicaKey("a", "dcn0"), nil)
	if d := a.desired(); len(d.Removed) != 1 || d.Removed[0].ImageId != "a" || len(d.Offers) != 1 {
		t.Fatalf("removal: %v", d)
	}
}

func TestRefusedStore(t *testing.T) {
	t.Parallel()
	h := newHub(t, 0)
	a := h.connect("central", "central")
	if !a.welcome.Central {
		t.Fatalf("welcome: %v", a.welcome)
	}
	b := h.connect("dcn0", "dcn0", "central")
	if r := b.welcome.RefusedStores; len(r) != 1 || r[0].StoreId != "central" || r[0].Message == "" || b.welcome.Central {
		t.Fatalf("welcome: %v", b.welcome)
	}
	if h.service.Directory.Store("dcn0", "central").Online {
		t.Fatal("the refused store is online")
	}
}

func TestProtocolMismatch(t *testing.T) {
	t.Parallel()
	h := newHub(t, 0)
	wantEnd(t, h.dial("dcn0", &agentv1.Hello{ProtocolMin: 2, ProtocolMax: 3}), fault.Precondition, "PROTOCOL_MISMATCH")
	wantEnd(t, h.dial("dcn0", nil), fault.Precondition, "PROTOCOL_MISMATCH")
	if s, _ := h.records.Site("dcn0"); s.SessionEpoch != 0 {
		t.Fatal("a refused agent has had a session")
	}
}

func TestSupersededSession(t *testing.T) {
	t.Parallel()
	h := newHub(t, 0)
	h.put("a", "dcn0", 1)
	a := h.connect("dcn0", "dcn0")
	a.desired()
	b := h.connect("dcn0", "dcn0")
	b.desired()
	if m := a.recv(); m.GetGoodbye().GetReason() == "" || b.epoch <= a.epoch {
		t.Fatalf("got %v, epochs %d and %d", m, a.epoch, b.epoch)
	}
	wantEnd(t, a, fault.Conflict, "SUPERSEDED")
	if !h.service.Directory.Store("dcn0", "dcn0").Online {
		t.Fatal("the end of the older session took the site down")
	}
	b.report(a.epoch, "a")
	if h.service.Directory.Observed("dcn0", "a", "dcn0") != nil {
		t.Fatal("a message of the older epoch is taken")
	}
	b.report(b.epoch, "a")
	if h.service.Directory.Observed("dcn0", "a", "dcn0").GetState() != present {
		t.Fatal("a message of this epoch is not taken")
	}
}

// An agent that reports what nobody has asked for is heard, but not remembered, and the log says so once.
func TestUnknownCopies(t *testing.T) {
	t.Parallel()
	h := newHub(t, 0)
	h.put("a", "dcn0", 1)
	h.put("b", "central", 1)
	a := h.connect("dcn0", "dcn0")
	a.desired()
	a.report(a.epoch, "a")
	for _, img := range []string{"b", "c", "d"} {
		a.report(a.epoch, img)
		if h.service.Directory.Observed("dcn0", image.ID(img), "dcn0") != nil {
			t.Fatalf("%s is remembered", img)
		}
	}
	if h.service.Directory.Observed("dcn0", "a", "dcn0").GetState() != present {
		t.Fatal("the known one is not")
	}
	if log := h.log.String(); strings.Count(log, "does not name") != 1 {
		t.Fatalf("log:\n%s", log)
	}
}

func TestSilentAgent(t *testing.T) {
	t.Parallel()
	h := newHub(t, 300*time.Millisecond)
	a := h.connect("dcn0", "dcn0")
	a.desired()
	if m := a.recv(); !strings.Contains(m.GetGoodbye().GetReason(), "nothing was heard") {
		t.Fatalf("got %v", m)
	}
	wantEnd(t, a, fault.Timeout, "AGENT_SILENT")
	if h.service.Directory.Site("dcn0").Connected {
		t.Fatal("still connected")
	}
}

// A session does not outlive the certificate it was opened with.
func TestExpiredCertificate(t *testing.T) {
	t.Parallel()
	h := newHub(t, 0)
	h.put("a", "dcn0", 1)
	a := h.connect("dcn0", "dcn0")
	a.desired()
	h.clock.advance(certLife - time.Minute)
	a.report(a.epoch, "a")
	h.clock.advance(2 * time.Minute)
	_ = a.Send(&agentv1.ConnectRequest{SessionEpoch: a.epoch}) // fails when the report has been noticed only now, and the session has ended
	if m := a.recv(); !strings.Contains(m.GetGoodbye().GetReason(), "certificate of this session expired") {
		t.Fatalf("got %v", m)
	}
	wantEnd(t, a, fault.Unauthenticated, "CERT_EXPIRED")
	if h.service.Directory.Site("dcn0").Connected {
		t.Fatal("still connected")
	}
}

// While a site is connected its record says so, in case the hub dies.
func TestSeenTimeIsKept(t *testing.T) {
	t.Parallel()
	h := newHubSeeing(t, time.Minute, 10*time.Millisecond)
	sub := h.records.Subscribe()
	defer sub.Close()
	a := h.connect("dcn0", "dcn0")
	a.desired()
	connected := h.clock.now()
	h.clock.advance(certLife / 2)
	for give := time.After(time.Minute); ; {
		if s, _ := h.records.Site("dcn0"); s.LastSeenTime.AsTime().After(connected) {
			break
		}
		select {
		case <-sub.C():
			sub.Take()
		case <-give:
			t.Fatal("the record grows old")
		}
	}
	if s, _ := h.records.Site("central"); s.LastSeenTime != nil {
		t.Fatal("a site that never came was seen")
	}
}

func TestDeletedSite(t *testing.T) {
	t.Parallel()
	h := newHub(t, 0)
	a := h.connect("dcn0")
	a.desired()
	if err := h.service.Catalog.DeleteSite(t.Context(), "dcn0"); err != nil {
		t.Fatal(err)
	}
	if m := a.recv(); m.GetGoodbye() == nil {
		t.Fatalf("got %v", m)
	}
	wantEnd(t, a, fault.Denied, "SITE_DELETED")
	if h.service.Directory.Store("dcn0", "dcn0").Seen {
		t.Fatal("the site is remembered")
	}
	wantEnd(t, h.dial("dcn0", &agentv1.Hello{ProtocolMin: 1, ProtocolMax: 1, Stores: []*agentv1.StoreStatus{{StoreId: "new"}}}),
		fault.NotFound, "SITE_NOT_FOUND")
	if s, _ := h.records.Store("new"); s != nil {
		t.Fatalf("left: %v", s)
	}
}

// TestParallelTransfers: a changed limit of copies at once reaches the agent by itself, and is repeated with all that follows.
func TestParallelTransfers(t *testing.T) {
	t.Parallel()
	h := newHub(t, 0)
	a := h.connect("dcn0", "dcn0")
	if d := a.desired(); d.ParallelTransfers != 0 {
		t.Fatalf("snapshot: %v", d)
	}
	two := int32(2)
	parts := catalog.LimitParts{Parallel: true}
	if err := h.service.Catalog.LimitSite(t.Context(), "dcn0", &storev1.SiteLimits{ParallelTransfers: &two}, parts); err != nil {
		t.Fatal(err)
	}
	if d := a.desired(); d.ParallelTransfers != 2 || d.Snapshot || len(d.Replicas) != 0 {
		t.Fatalf("limited: %v", d)
	}
	h.put("a", "dcn0", 1)
	if d := a.desired(); d.ParallelTransfers != 2 || len(d.Replicas) != 1 {
		t.Fatalf("change: %v", d)
	}
	if err := h.service.Catalog.LimitSite(t.Context(), "dcn0", nil, parts); err != nil {
		t.Fatal(err)
	}
	if d := a.desired(); d.ParallelTransfers != 0 {
		t.Fatalf("not limited: %v", d)
	}
}
