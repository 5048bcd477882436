// Package clienttest is a fake hub for tests of API clients: the real gRPC server of package rpc on a loopback port in
// front of records in memory, with queued faults, scripted operations and connections that can be cut.
package clienttest

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/rpc"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// Now is the hub's time, which never changes.
func Now() time.Time { return time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC) }

// Ago returns a moment before Now.
func Ago(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(Now().Add(-d)) }

// Hub is a fake hub. Its records may be set before the first call; later only through Change.
type Hub struct {
	Addr string // where it listens

	Sites      map[string]*hubv1.Site
	Limits     *hubv1.HubLimits // never nil
	Stores     map[string]*hubv1.Store
	Images     map[string]*hubv1.Image
	Replicas   map[string]*hubv1.Replica // key image + "/" + store
	Operations map[string]*hubv1.Operation
	Members    map[string][]*hubv1.Member             // by image
	Adopted    map[string]*hubv1.AdoptLocationRequest // by image
	Data       map[string][]byte                      // what has been uploaded, or is to be downloaded, by image
	Aborted    map[string]bool                        // uploads that ended early, by image
	Called     map[string]int                         // how often a method was called, by its name
	Expected   map[string]string                      // checksum of the data that is to be imported, by image
	// Token, when not empty, is the only token that is let in.
	Token string

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at each change
	faults  map[string][]error
	gates   map[string]<-chan struct{}
	script  []Step
	staged  map[string]bool   // images whose staged data is being imported
	steps   map[string][]Step // what is still ahead of an operation
	cutter  *cutter
}

// Step is one thing that happens to an operation.
type Step struct {
	Gate <-chan struct{} // waited for first, if not nil
	Do   func(*hubv1.Operation)
}

// Start returns a hub with the stores central, dcn0 and dcn1 that stops when the test ends.
func Start(tb testing.TB) *Hub {
	tb.Helper()
	return StartTLS(tb, nil)
}

// StartTLS is Start for a hub that is reached over TLS; nil means plaintext.
func StartTLS(tb testing.TB, conf *tls.Config) *Hub {
	tb.Helper()
	h := &Hub{
		Limits: &hubv1.HubLimits{}, Sites: map[string]*hubv1.Site{}, Stores: map[string]*hubv1.Store{}, Images: map[string]*hubv1.Image{},
		Replicas: map[string]*hubv1.Replica{}, Operations: map[string]*hubv1.Operation{}, Data: map[string][]byte{},
		Members: map[string][]*hubv1.Member{}, Adopted: map[string]*hubv1.AdoptLocationRequest{},
		Aborted: map[string]bool{}, Called: map[string]int{}, changed: make(chan struct{}), faults: map[string][]error{},
		gates: map[string]<-chan struct{}{}, staged: map[string]bool{}, Expected: map[string]string{}, steps: map[string][]Step{},
	}
	for _, id := range []string{"central", "dcn0", "dcn1"} {
		h.Stores[id] = &hubv1.Store{
			Id: id, SiteId: id, Driver: "ceph", Fsid: "f-" + id, Pool: "images", Central: id == "central", Healthy: true,
			TotalBytes: 100 << 30, FreeBytes: 75 << 30,
		}
		h.Sites[id] = &hubv1.Site{
			Id: id, Connected: true, ConnectionTime: Ago(time.Hour), CreateTime: Ago(48 * time.Hour), Stores: []string{id},
			AgentVersion: "v0.1.0", AgentAddress: "192.0.2.7", CertificateExpireTime: timestamppb.New(Now().Add(72 * time.Hour)),
		}
	}
	l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	h.Addr, h.cutter = l.Addr().String(), &cutter{Listener: l, conns: map[net.Conn]bool{}}
	s := rpc.NewServer(rpc.ServerOptions{
		Log:    hclog.NewNullLogger(),
		TLS:    conf,
		Unary:  []grpc.UnaryServerInterceptor{h.unary},
		Stream: []grpc.StreamServerInterceptor{h.stream},
	})
	hubv1.RegisterImageServiceServer(s, images{h: h})
	hubv1.RegisterReplicaServiceServer(s, replicas{h: h})
	hubv1.RegisterOperationServiceServer(s, operations{h: h})
	hubv1.RegisterSiteServiceServer(s, sites{h: h})
	hubv1.RegisterStoreServiceServer(s, stores{h: h})
	hubv1.RegisterLimitServiceServer(s, limits{h: h})
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, h.cutter) }()
	tb.Cleanup(func() {
		h.cutter.down(true)
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
	return h
}

// Change runs f while no call looks at the records.
func (h *Hub) Change(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	h.notifyLocked()
}

func (h *Hub) notifyLocked() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// Fail makes the next call of a method, such as "CreateImage", answer err. Several are answered in order.
func (h *Hub) Fail(method string, err error) {
	h.Change(func() { h.faults[method] = append(h.faults[method], err) })
}

// Hold makes calls of a method wait until the gate is closed.
func (h *Hub) Hold(method string, gate <-chan struct{}) {
	h.Change(func() { h.gates[method] = gate })
}

// Script says what the operations that begin from now on go through. The default is success everywhere.
func (h *Hub) Script(steps ...Step) {
	h.Change(func() { h.script = steps })
}

// Cut breaks every connection; clients may connect again.
func (h *Hub) Cut() { h.cutter.cut() }

// Down breaks every connection and refuses new ones until it is called with false.
func (h *Hub) Down(down bool) { h.cutter.down(down) }

// Await blocks until ok returns true; it is asked again after each change and each call, while no call looks at the records.
func (h *Hub) Await(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	for {
		h.mu.Lock()
		done, changed := ok(), h.changed
		h.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-deadline.C:
			tb.Fatalf("gave up waiting for %s", what)
		}
	}
}

// enter notes a call and returns the fault queued for it.
func (h *Hub) enter(ctx context.Context, full string) error {
	method := full[strings.LastIndexByte(full, '/')+1:]
	var err error
	var gate <-chan struct{}
	h.Change(func() {
		h.Called[method]++
		if sent := metadata.ValueFromIncomingContext(ctx, rpc.TokenKey); h.Token != "" && !slices.Equal(sent, []string{h.Token}) {
			err = fault.New(fault.Unauthenticated, "TOKEN_INVALID", "the token is not valid")
			return
		}
		gate = h.gates[method]
		if queue := h.faults[method]; len(queue) > 0 {
			err, h.faults[method] = queue[0], queue[1:]
		}
	})
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

func (h *Hub) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if err := h.enter(ctx, info.FullMethod); err != nil {
		return nil, err
	}
	return next(ctx, req)
}

func (h *Hub) stream(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if err := h.enter(s.Context(), info.FullMethod); err != nil {
		return err
	}
	return next(srv, s)
}
