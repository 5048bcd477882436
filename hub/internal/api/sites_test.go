package api

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/session"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/rpc"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// agent connects an agent of the site dcn0, and returns a function that ends its session.
func (w *world) agent() (leave func()) {
	w.t.Helper()
	service := session.New(session.Config{
		Catalog: w.catalog, Directory: w.directory, Changed: func(...image.ID) {}, Log: hclog.NewNullLogger(), Now: time.Now, Heartbeat: time.Hour,
		Peer:    func(context.Context) (image.SiteID, string, error) { return "dcn0", "192.0.2.1", nil },
		Desired: func(*storev1.Image, *storev1.Replica) *agentv1.DesiredReplica { return &agentv1.DesiredReplica{} },
	})
	server := rpc.NewServer(rpc.ServerOptions{Log: hclog.NewNullLogger()})
	agentv1.RegisterSessionServiceServer(server, service)
	l := bufconn.Listen(1 << 20)
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	done := make(chan error, 2)
	go func() { done <- service.Run(ctx) }()
	go func() { done <- server.Run(ctx, l) }()
	conn, err := grpc.NewClient("passthrough:///agent", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		w.t.Fatal(err)
	}
	stream, err := agentv1.NewSessionServiceClient(conn).Connect(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	hello := &agentv1.Hello{ProtocolMin: 1, ProtocolMax: 1, Stores: []*agentv1.StoreStatus{{StoreId: "dcn0"}}}
	if err := stream.Send(&agentv1.ConnectRequest{Body: &agentv1.ConnectRequest_Hello{Hello: hello}}); err != nil {
		w.t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		w.t.Fatal(err)
	}
	return func() {
		_ = conn.Close()
		cancel()
		<-done // and with it the session
		<-done
	}
}

func TestForceDeleteSite(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", time.Time{})
	id := w.add(storev1.Visibility_VISIBILITY_PUBLIC, nil)
	last := w.add(storev1.Visibility_VISIBILITY_PUBLIC, nil)
	for _, s := range []image.StoreID{"central", "dcn1"} {
		w.records.Put(catalog.ReplicaKey(last, s), nil)
	}
	ctx := w.as("admin")
	refuse := func(req *hubv1.DeleteSiteRequest, class fault.Class, reason, text string) {
		t.Helper()
		_, err := w.sites.DeleteSite(ctx, req)
		if err = fromStatus(err); fault.ClassOf(err) != class || fault.ReasonOf(err) != reason || !strings.Contains(fault.Public(err), text) {
			t.Fatalf("got %v, want %s %s", err, class, reason)
		}
	}
	leave := w.agent()
	refuse(&hubv1.DeleteSiteRequest{Id: "dcn0", Force: true}, fault.Precondition, "SITE_CONNECTED", "dcn0")
	leave()
	refuse(&hubv1.DeleteSiteRequest{Id: "dcn0"}, fault.Precondition, "SITE_IN_USE", "dcn0")
	refuse(&hubv1.DeleteSiteRequest{Id: "dcn0", ForceLastCopies: true}, fault.Invalid, "INVALID_FIELD", "force_last_copies")
	refuse(&hubv1.DeleteSiteRequest{Id: "dcn0", Force: true}, fault.Precondition, "LAST_COPY", string(last))
	res, err := w.sites.DeleteSite(ctx, &hubv1.DeleteSiteRequest{Id: "dcn0", Force: true, ForceLastCopies: true})
	if err != nil || res.GetDroppedCopies() != 2 {
		t.Fatalf("got %v, %v", res, err)
	}
	if s, _ := w.records.Store("dcn0"); s != nil {
		t.Fatalf("left: %v", s)
	}
	if r, _ := w.records.Replicas(id); len(r) != 2 {
		t.Fatalf("left: %v", r)
	}
	refuse(&hubv1.DeleteSiteRequest{Id: "dcn0", Force: true}, fault.NotFound, "SITE_NOT_FOUND", "dcn0")
}
