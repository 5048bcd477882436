package api

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atoll-dcn/atoll/hub/internal/bandwidth"
	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/catalog/catalogtest"
	"github.com/atoll-dcn/atoll/hub/internal/glance"
	"github.com/atoll-dcn/atoll/hub/internal/importer"
	"github.com/atoll-dcn/atoll/hub/internal/session"
	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/policy"
	"github.com/atoll-dcn/atoll/pkg/rpc"
	"github.com/atoll-dcn/atoll/pkg/schedule"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// callers are the tokens that the fake verifier knows.
var callers = map[string]*auth.Caller{
	"admin":   {UserID: "root", ProjectID: "p-admin", Roles: []string{"admin", "member", "reader"}},
	"alice":   {UserID: "alice", ProjectID: "p-a", Roles: []string{"member", "reader"}},
	"amy":     {UserID: "amy", ProjectID: "p-a", Roles: []string{"reader"}},
	"bob":     {UserID: "bob", ProjectID: "p-b", Roles: []string{"member", "reader"}},
	"carol":   {UserID: "carol", ProjectID: "p-c", Roles: []string{"member", "reader"}},
	"nova":    {UserID: "nova", ProjectID: "p-service", Roles: []string{"service"}},
	"novice":  {UserID: "novice", ProjectID: "p-a", Roles: []string{"member", "reader"}, ServiceRoles: []string{"service"}, Site: "dcn1"},
	"norole":  {UserID: "norole", ProjectID: "p-a"},
	"noscope": {UserID: "noscope", Roles: []string{"member", "reader"}},
}

// door is a verifier of fixed tokens.
type door struct{ expires time.Time }

func (d door) Verify(_ context.Context, token, _ string) (*auth.Caller, error) {
	c := callers[token]
	if c == nil {
		return nil, fault.New(fault.Unauthenticated, "TOKEN_INVALID", "the token is not valid")
	}
	copied := *c
	copied.Expires = d.expires
	return &copied, nil
}

// world is the API in front of records in memory, reached over a connection in memory.
type world struct {
	t         *testing.T
	records   *catalogtest.Records
	catalog   *catalog.Catalog
	index     *glance.Index
	policy    *policy.Enforcer
	directory *session.Directory
	limiter   *bandwidth.Limiter
	conn      *grpc.ClientConn

	images     hubv1.ImageServiceClient
	replicas   hubv1.ReplicaServiceClient
	operations hubv1.OperationServiceClient
	sites      hubv1.SiteServiceClient
	limits     hubv1.LimitServiceClient
	stores     hubv1.StoreServiceClient
}

// newWorld starts the API with the default rules, those of protections when that is not empty, and tokens that expire.
func newWorld(t *testing.T, protections string, expires time.Time) *world {
	t.Helper()
	w := &world{t: t, records: catalogtest.New(), directory: session.NewDirectory(time.Now, func(...image.ID) {})}
	w.catalog = catalog.New(w.records, "central", catalog.DefaultLimits(), time.Now)
	w.index = glance.NewIndex(w.catalog)
	t.Cleanup(w.index.Close)
	o := policy.Options{}
	if protections != "" {
		o.ProtectionFile = filepath.Join(t.TempDir(), "protections.conf")
		if err := os.WriteFile(o.ProtectionFile, []byte(protections), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.limiter = bandwidth.New(bandwidth.Config{
		Records: w.records, Hub: schedule.Always, Changed: func(image.SiteID) {}, Log: hclog.NewNullLogger(), Now: time.Now,
	})
	var err error
	if w.policy, err = policy.New(o); err != nil {
		t.Fatal(err)
	}
	guard := rpc.Authentication{Verifier: door{expires}}
	s := rpc.NewServer(rpc.ServerOptions{
		Log: hclog.NewNullLogger(), Public: true,
		Unary: []grpc.UnaryServerInterceptor{guard.Unary}, Stream: []grpc.StreamServerInterceptor{guard.Stream},
	})
	Register(s, Config{
		Catalog: w.catalog, Images: w.index, Policy: w.policy, Directory: w.directory,
		Importer: fakeImporter{w}, Chunks: noChunks{}, Identity: noIdentity{}, Bandwidth: w.limiter,
		HubLimits: &storev1.HubLimits{BytesPerSecond: proto.Int64(7 << 20)}, EndSession: func(image.SiteID, error) {}, Now: time.Now,
	})
	w.serve(s)
	for _, store := range []string{"central", "dcn0", "dcn1"} {
		w.records.Put(catalog.StoreKey(image.StoreID(store)), &storev1.Store{Id: store, SiteId: store, Driver: "ceph", Fsid: "f-" + store, Pool: "images"})
	}
	w.records.Put(catalog.SiteKey("dcn0"), &storev1.Site{Id: "dcn0"})
	return w
}

func (w *world) serve(s *rpc.Server) {
	l := bufconn.Listen(1 << 20)
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, l) }()
	conn, err := grpc.NewClient("passthrough:///memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = conn.Close()
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
	w.conn, w.limits = conn, hubv1.NewLimitServiceClient(conn)
	w.images, w.replicas = hubv1.NewImageServiceClient(conn), hubv1.NewReplicaServiceClient(conn)
	w.operations, w.sites, w.stores = hubv1.NewOperationServiceClient(conn), hubv1.NewSiteServiceClient(conn), hubv1.NewStoreServiceClient(conn)
}

// as returns a context with a token; the empty one sends none.
func (w *world) as(token string) context.Context {
	if token == "" {
		return w.t.Context()
	}
	return metadata.AppendToOutgoingContext(w.t.Context(), rpc.TokenKey, token)
}

// add puts an image of project p-a with active copies into the records.
func (w *world) add(v storev1.Visibility, change func(*storev1.Image)) image.ID {
	w.t.Helper()
	now := timestamppb.Now()
	img := &storev1.Image{
		Id: string(image.NewID()), Name: "x", Status: storev1.ImageStatus_IMAGE_STATUS_ACTIVE, Owner: "p-a", Visibility: v,
		DiskFormat: "raw", ContainerFormat: "bare", CreateTime: now, UpdateTime: now,
		Content: &storev1.Content{Id: string(image.NewID()), Complete: true, SizeBytes: 5},
	}
	if change != nil {
		change(img)
	}
	id := image.ID(img.Id)
	w.records.Put(catalog.ImageKey(id), img)
	for _, store := range []string{"central", "dcn0", "dcn1"} {
		w.records.Put(catalog.ReplicaKey(id, image.StoreID(store)), &storev1.Replica{
			ImageId: img.Id, StoreId: store, SiteId: store, Phase: storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE, ContentId: img.Content.GetId(),
			Location: "rbd://f-" + store + "/images/" + img.Id + "/snap",
		})
	}
	return id
}

// queued puts an image of project p-a without data into the records.
func (w *world) queued() image.ID {
	w.t.Helper()
	img, err := w.catalog.CreateImage(w.t.Context(), catalog.NewImage{DiskFormat: "raw", ContainerFormat: "bare", Owner: "p-a"})
	if err != nil {
		w.t.Fatal(err)
	}
	return image.ID(img.Id)
}

// begin puts a running operation into the records.
func (w *world) begin(kind storev1.OperationKind, id image.ID, project string) string {
	op := &storev1.Operation{
		Id: string(image.NewID()), Kind: kind, ImageId: string(id), State: storev1.OperationState_OPERATION_STATE_RUNNING,
		CreateTime: timestamppb.Now(), Requester: &storev1.Requester{ProjectId: project, UserId: "u-" + project, RequestId: "req-1"},
		Stores: []*storev1.OperationStore{{StoreId: "dcn0", State: storev1.OperationState_OPERATION_STATE_RUNNING}},
	}
	w.records.Put(catalog.OperationKey(image.ID(op.Id)), op)
	return op.Id
}

// shared makes p-b and p-c members; p-b has accepted.
func shared(img *storev1.Image) {
	img.Members = []*storev1.Member{
		{ProjectId: "p-b", Status: storev1.MemberStatus_MEMBER_STATUS_ACCEPTED},
		{ProjectId: "p-c", Status: storev1.MemberStatus_MEMBER_STATUS_PENDING},
	}
}

// classOf returns the class of the error of a call, -1 for none.
func classOf(err error) fault.Class {
	if err == nil {
		return -1
	}
	return fault.ClassOf(rpc.FromStatus(err))
}

// fakeImporter swallows data and makes the operation for it.
type fakeImporter struct{ w *world }

func (f fakeImporter) Upload(ctx context.Context, in catalog.Import, next func() ([]byte, error)) (*storev1.Operation, error) {
	return f.take(ctx, in, next, f.w.catalog.BeginImport)
}

func (f fakeImporter) StageMessages(ctx context.Context, in catalog.Import, next func() ([]byte, error)) (*storev1.Operation, error) {
	return f.take(ctx, in, next, f.w.catalog.BeginStage)
}

func (f fakeImporter) take(
	ctx context.Context, in catalog.Import, next func() ([]byte, error), begin func(context.Context, catalog.Import) (*storev1.Operation, error),
) (*storev1.Operation, error) {
	in.Content = image.NewID()
	op, err := begin(ctx, in)
	if err != nil {
		return nil, err
	}
	size := int64(0)
	for {
		b, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		size += int64(len(b))
	}
	return op, f.w.catalog.CompleteSource(ctx, image.ID(op.Id), catalog.Arrived{Content: &storev1.Content{Id: string(in.Content), Complete: true, SizeBytes: size}})
}

func (f fakeImporter) Fetch(ctx context.Context, in catalog.Import) (*storev1.Operation, error) {
	in.Content = image.NewID()
	return f.w.catalog.BeginImport(ctx, in)
}

func (f fakeImporter) ImportStaged(ctx context.Context, in catalog.Import) (*storev1.Operation, error) {
	in.FromStaged = true
	return f.w.catalog.BeginImport(ctx, in)
}

func (fakeImporter) Progress(image.ID) importer.Progress {
	return importer.Progress{Phase: importer.PhaseBoth, Received: 7, Expected: 70, Rate: 3, DiskDone: 8, DiskTotal: 80}
}

type noChunks struct{}

func (noChunks) ReadChunk(context.Context, image.ID, int, []byte) ([]byte, error) {
	return []byte("bytes"), nil
}

type noIdentity struct{}

func (noIdentity) CreateToken(context.Context, image.SiteID) (string, time.Time, error) {
	return "token", time.Now(), nil
}
func (noIdentity) Revoke(context.Context, image.SiteID) (int, error)      { return 1, nil }
func (noIdentity) LastRefusal(image.SiteID) (reason string, at time.Time) { return "", time.Time{} }

// fromStatus returns the fault of a call's error.
func fromStatus(err error) error { return rpc.FromStatus(err) }
