package edge

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/agent/internal/rbd/filerbd"
	"github.com/atoll-dcn/atoll/agent/internal/rbd/rbdtest"
	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/policy"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	img1 = image.ID("11111111-1da0-4078-97fe-f1bb81f61b00")
	img2 = image.ID("22222222-1da0-4078-97fe-f1bb81f61b00")
	img3 = image.ID("33333333-1da0-4078-97fe-f1bb81f61b00")
	conA = image.ID("aaaaaaaa-1da0-4078-97fe-f1bb81f61b00")
	st0  = "dcn0"

	isFilling = agentv1.ReplicaState_REPLICA_STATE_FILLING
	isPresent = agentv1.ReplicaState_REPLICA_STATE_PRESENT
	isFailed  = agentv1.ReplicaState_REPLICA_STATE_FAILED
)

// goal is a wanted copy of an active image; change may make it another.
func goal(id image.ID, change func(*agentv1.DesiredReplica)) *agentv1.DesiredReplica {
	created := timestamppb.New(time.Date(2026, 11, 1, 0, 0, int(id[0]), 0, time.UTC))
	d := &agentv1.DesiredReplica{
		ImageId: string(id), StoreId: st0, Generation: 1, Goal: agentv1.Goal_GOAL_PRESENT,
		Content: &agentv1.Content{ContentId: string(conA)},
		Metadata: &agentv1.ImageMetadata{
			Revision: 1, Status: "active", Name: "cirros", Owner: "p1", Visibility: "shared", DiskFormat: "raw", ContainerFormat: "bare",
			CreateTime: created, UpdateTime: created, Location: "rbd://fsid/images/" + string(id) + "/snap",
		},
	}
	if change != nil {
		change(d)
	}
	return d
}

// filling makes a goal one whose copy the hub has not recorded.
func filling(d *agentv1.DesiredReplica) { d.Metadata.Location = "" }

// fakeCopies is what the site sees of its copies.
type fakeCopies struct {
	mu     sync.Mutex
	states map[image.ID]agentv1.ReplicaState
	sick   bool
}

func (f *fakeCopies) State(id image.ID, _ image.StoreID) (agentv1.ReplicaState, image.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.states[id], conA
}

func (f *fakeCopies) Stores() []*agentv1.StoreStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	return []*agentv1.StoreStatus{{StoreId: st0, Driver: "ceph", Fsid: "fsid", Pool: "images", Healthy: !f.sick}}
}

func (f *fakeCopies) set(id image.ID, s agentv1.ReplicaState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.states[id] = s
}

func newFakeCopies() *fakeCopies {
	return &fakeCopies{states: map[image.ID]agentv1.ReplicaState{}}
}

// logged returns a logger and what it has said so far.
func logged() (hclog.Logger, func() string) {
	var mu sync.Mutex
	var b strings.Builder
	log := hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: &b, Mutex: &mu})
	return log, func() string { mu.Lock(); defer mu.Unlock(); return b.String() }
}

// fakeHub is the hub's Image API.
type fakeHub struct {
	server *httptest.Server

	mu      sync.Mutex
	handler http.HandlerFunc
	seen    []string // method and path
}

func newFakeHub(t testing.TB) *fakeHub {
	t.Helper()
	f := &fakeHub{handler: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"from":"hub"}`) }}
	f.server = &httptest.Server{Listener: listen(t), Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.seen = append(f.seen, r.Method+" "+r.URL.RequestURI())
		h := f.handler
		f.mu.Unlock()
		h(w, r)
	})}}
	f.server.Start()
	t.Cleanup(f.server.Close)
	return f
}

// listen listens on a port that stays taken until the end of the test: after the listener's end connections are refused, and
// reach nobody else who was given the port meanwhile.
func listen(t testing.TB) net.Listener {
	t.Helper()
	share := func(_, _ string, c syscall.RawConn) error {
		var err error
		cerr := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
		return errors.Join(cerr, err)
	}
	l, err := (&net.ListenConfig{Control: share}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	holder, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(holder) })
	port := l.Addr().(*net.TCPAddr).Port
	if err := errors.Join(
		unix.SetsockoptInt(holder, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1),
		unix.Bind(holder, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}),
	); err != nil {
		t.Fatal(err)
	}
	return l
}

// leave makes the hub refuse connections.
func (f *fakeHub) leave() { f.server.Close() }

func (f *fakeHub) handle(h http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.handler = h
}

// asked returns the requests since the last call.
func (f *fakeHub) asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := f.seen
	f.seen = nil
	return seen
}

// edgeSite is a site with one store on disk, its Image API and a hub.
type edgeSite struct {
	t       testing.TB
	hub     *fakeHub
	copies  *fakeCopies
	pool    *rbdtest.Faulty
	cat     *Catalogue
	awaited *Awaited
	server  *Server
	url     string
	linked  error
	mu      sync.Mutex
	now     time.Time
	stop    func()
}

// clock returns the site's time, which only tests move.
func (s *edgeSite) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *edgeSite) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

func (s *edgeSite) link() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.linked
}

func (s *edgeSite) unlink() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.linked = fault.New(fault.Unavailable, "LINK_LOST", "gone")
}

// longer is a patience that a slow machine does not try.
var longer = patience{first: time.Minute, read: time.Minute, write: time.Minute}

func newEdgeSite(t testing.TB, change func(*Config)) *edgeSite {
	t.Helper()
	s := &edgeSite{t: t, hub: newFakeHub(t), copies: newFakeCopies(), now: time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)}
	file, err := filerbd.Open(memDir(t))
	if err != nil {
		t.Fatal(err)
	}
	s.pool = rbdtest.NewFaulty(file)
	s.awaited = NewAwaited(s.clock)
	s.cat = NewCatalogue("dcn0", s.copies, hclog.NewNullLogger())
	rules, err := policy.New(policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	base, err := url.Parse(s.hub.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := Config{
		Site: "dcn0", Catalogue: s.cat, Awaited: s.awaited, Copies: s.copies, Pools: map[image.StoreID]rbd.Pool{st0: s.pool}, Linked: s.link, Hub: base,
		Verifier: auth.None("dcn0"), Policy: rules, Log: hclog.NewNullLogger(), Registry: prometheus.NewRegistry(), Now: s.clock,
	}
	if change != nil {
		change(&c)
	}
	s.server = New(c)
	s.server.patience = longer
	s.server.hub.dialer.Timeout = longer.write
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.url = "http://" + l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.server.Run(ctx, l) }()
	s.stop = sync.OnceFunc(func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(s.stop)
	return s
}

// memDir is t.TempDir in memory where that is possible: file pools sync a lot. The tests at once need less than 1 GiB.
func memDir(t testing.TB) string {
	t.Helper()
	var fs unix.Statfs_t
	if err := unix.Statfs("/dev/shm", &fs); err != nil || fs.Bavail*uint64(fs.Bsize) < 1<<30 {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp("/dev/shm", "atoll-test")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// hold publishes a copy and tells the site of it.
func (s *edgeSite) hold(id image.ID, data []byte) {
	s.t.Helper()
	publish(s.t, s.pool, id, data)
	s.cat.Apply(&agentv1.Desired{Replicas: []*agentv1.DesiredReplica{goal(id, func(d *agentv1.DesiredReplica) {
		d.Metadata.SizeBytes = int64(len(data))
		d.Metadata.Checksum = "00112233445566778899aabbccddeeff"
	})}})
}

func publish(t testing.TB, pool rbd.Pool, id image.ID, data []byte) {
	t.Helper()
	ctx := t.Context()
	img, err := pool.Create(ctx, string(id), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = img.Close() }()
	for _, step := range []func() error{
		func() error { return img.SetMeta(ctx, metaContent, string(conA)) },
		func() error { return img.WriteAt(ctx, data, 0) },
		func() error { return img.Flush(ctx) },
		func() error { return img.CreateSnapshot(ctx) },
		func() error { return img.ProtectSnapshot(ctx) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
}

// random returns n bytes.
func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

// answer is what came back.
type answer struct {
	code   int
	header http.Header
	body   string
}

// do sends a request with a token; header holds pairs.
func (s *edgeSite) do(method, path string, body io.Reader, header ...string) answer {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("X-Auth-Token", "secret")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

func (s *edgeSite) get(path string, header ...string) answer {
	s.t.Helper()
	return s.do(http.MethodGet, path, nil, header...)
}

// json returns the body as an object.
func (a answer) json(t testing.TB) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("%q is no JSON object: %v", a.body, err)
	}
	return v
}

// here reports whether the site answered.
func (a answer) here() bool { return a.header.Get("X-Atoll-Site") == "dcn0" }
