package api

import (
	"context"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/catalog/catalogtest"
	"github.com/atoll-dcn/atoll/hub/internal/glance"
	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/policy"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestEnumsAgree allows the views to convert enums by their numbers.
func TestEnumsAgree(t *testing.T) {
	t.Parallel()
	for _, pair := range [][2]protoreflect.Enum{
		{hubv1.ImageStatus(0), storev1.ImageStatus(0)},
		{hubv1.ReplicaPhase(0), storev1.ReplicaPhase(0)},
		{hubv1.OperationKind(0), storev1.OperationKind(0)},
		{hubv1.OperationState(0), storev1.OperationState(0)},
		{hubv1.Visibility(0), storev1.Visibility(0)},
		{hubv1.MemberStatus(0), storev1.MemberStatus(0)},
		{hubv1.BaseReason(0), storev1.BaseReason(0)},
	} {
		public, stored := pair[0].Descriptor(), pair[1].Descriptor()
		for i := range stored.Values().Len() {
			s := stored.Values().Get(i)
			if s.Name() == "IMAGE_STATUS_DELETED" {
				continue // never shown
			}
			if p := public.Values().ByNumber(s.Number()); p == nil || p.Name() != s.Name() {
				t.Errorf("%s: %s = %d is %v in public", stored.FullName(), s.Name(), s.Number(), p)
			}
		}
		for i := range public.Values().Len() {
			if p := public.Values().Get(i); stored.Values().ByNumber(p.Number()) == nil {
				t.Errorf("%s: %s is never stored", public.FullName(), p.Name())
			}
		}
	}
}

// Following the tokens shows every item once and in order, also those that stay while others come and go.
func TestPageProperties(t *testing.T) {
	t.Parallel()
	self := func(s string) string { return s }
	rapid.Check(t, func(t *rapid.T) {
		desc := rapid.Bool().Draw(t, "desc")
		keys := rapid.SliceOfNDistinct(rapid.StringN(1, 4, -1), 0, 40, self)
		sorted := func(list []string) []string {
			list = slices.Clone(list)
			slices.Sort(list)
			if desc {
				slices.Reverse(list)
			}
			return slices.Compact(list)
		}
		wanted := func(s string) bool { return len(s)%3 != 0 }
		stay, other := sorted(keys.Draw(t, "stay")), keys.Draw(t, "come and go")
		var seen []string
		token := ""
		for {
			now := stay
			if rapid.Bool().Draw(t, "there") {
				now = sorted(append(slices.Clone(stay), other...))
			}
			size := rapid.Int32Range(0, 10).Draw(t, "size")
			got, next, err := page(now, self, desc, wanted, "list", size, token)
			if err != nil || size > 0 && len(got) > int(size) || next != "" && len(got) == 0 {
				t.Fatalf("%d of %d items, %q, %v", len(got), size, next, err)
			}
			seen = append(seen, got...)
			if token = next; token == "" {
				break
			}
		}
		if !slices.Equal(seen, sorted(seen)) {
			t.Fatalf("out of order or twice: %q", seen)
		}
		for _, s := range stay {
			if slices.Contains(seen, s) != wanted(s) {
				t.Fatalf("%q is missing or too much in %q", s, seen)
			}
		}
	})
}

func TestPageRefuses(t *testing.T) {
	t.Parallel()
	all, self := []string{"a", "b", "c"}, func(s string) string { return s }
	_, token, err := page(all, self, false, nil, "list", 1, "")
	if err != nil || token == "" {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		list, token string
		size        int32
	}{
		"negative size": {"list", "", -1}, "another list": {"other", token, 1}, "garbage": {"list", "%%", 1}, "no token": {"list", "YWJj", 1},
	} {
		if _, _, err := page(all, self, false, nil, c.list, c.size, c.token); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// boss may do everything, as a caller of an installation without authentication may.
var boss = &auth.Caller{UserID: "boss", ProjectID: "boss", Roles: []string{"admin", "member", "reader"}}

// desk is the image service over records in memory, with the default policy.
func desk(t *testing.T) (*images, *catalogtest.Records) {
	t.Helper()
	records := catalogtest.New()
	c := catalog.New(records, "central", catalog.DefaultLimits(), time.Now)
	index := glance.NewIndex(c)
	t.Cleanup(index.Close)
	rules, err := policy.New(policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &images{view: newView(Config{Catalog: c, Images: index, Policy: rules, Now: time.Now})}, records
}

func putImage(records *catalogtest.Records, status storev1.ImageStatus) *storev1.Image {
	img := &storev1.Image{Id: string(image.NewID()), Status: status}
	records.Put(catalog.ImageKey(image.ID(img.Id)), img)
	return img
}

func TestImageView(t *testing.T) {
	t.Parallel()
	s, records := desk(t)
	img := putImage(records, storev1.ImageStatus_IMAGE_STATUS_ACTIVE)
	img.FailedStores = []string{"gone", "b"} // b has a copy by now
	img.Origin = &storev1.Origin{DiskFormat: "qcow2", ContainerFormat: "bare", Compression: "xz", SizeBytes: 7}
	img.Signature = &storev1.Signature{
		HashMethod: "h", KeyType: "k", CertificateId: "c", CertificateSha256: []byte{0xab}, Subject: "s", VerifyTime: img.CreateTime, Trusted: true,
	}
	records.Put(catalog.ImageKey(image.ID(img.Id)), img)
	for store, phase := range map[string]storev1.ReplicaPhase{
		"b": storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE, "a": storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE,
		"central": storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE, "failed": storev1.ReplicaPhase_REPLICA_PHASE_FAILED,
		"verifying": storev1.ReplicaPhase_REPLICA_PHASE_VERIFYING, "going": storev1.ReplicaPhase_REPLICA_PHASE_DELETING,
	} {
		records.Put(catalog.ReplicaKey(image.ID(img.Id), image.StoreID(store)),
			&storev1.Replica{ImageId: img.Id, StoreId: store, Phase: phase, Location: "rbd://" + store})
	}
	running := storev1.OperationState_OPERATION_STATE_RUNNING
	op := &storev1.Operation{
		Id: string(image.NewID()), ImageId: img.Id, Kind: storev1.OperationKind_OPERATION_KIND_COPY, State: running,
		Stores: []*storev1.OperationStore{{StoreId: "asked", State: running}, {StoreId: "b", State: running}, {StoreId: "going", State: running}},
	}
	records.Put(catalog.OperationKey(image.ID(op.Id)), op)
	look := func(stores, locations, importing, failed []string) {
		t.Helper()
		m, err := s.image(boss, image.ID(img.Id))
		if err != nil {
			t.Fatal(err)
		}
		var urls []string
		for _, l := range m.Locations {
			urls = append(urls, l.Url)
		}
		if !slices.Equal(m.Stores, stores) || !slices.Equal(urls, locations) || !slices.Equal(m.ImportingToStores, importing) || !slices.Equal(m.FailedImport, failed) {
			t.Fatalf("got %v", m)
		}
		if want := (&hubv1.Origin{DiskFormat: "qcow2", ContainerFormat: "bare", Compression: "xz", SizeBytes: 7}); !proto.Equal(m.Origin, want) {
			t.Errorf("origin %v", m.Origin)
		}
		if !proto.Equal(m.Signature, &hubv1.Signature{
			HashMethod: "h", KeyType: "k", CertificateId: "c", CertificateSha256: "ab", Subject: "s", VerifyTime: img.CreateTime, Trusted: true,
		}) {
			t.Errorf("signature %v", m.Signature)
		}
	}
	look([]string{"a", "b", "central"}, []string{"rbd://central", "rbd://a", "rbd://b"}, []string{"asked", "going", "verifying"}, []string{"failed", "gone"})
	op.Undoing = storev1.OperationState_OPERATION_STATE_CANCELLED
	records.Put(catalog.OperationKey(image.ID(op.Id)), op)
	img.Status = storev1.ImageStatus_IMAGE_STATUS_DELETING
	records.Put(catalog.ImageKey(image.ID(img.Id)), img)
	look(nil, nil, []string{"verifying"}, []string{"failed", "gone"})
}

// watcher is the server's end of a watch.
type watcher struct {
	grpc.ServerStream
	ctx    context.Context
	events chan *hubv1.WatchImagesResponse
}

func (w *watcher) Context() context.Context { return w.ctx }

func (w *watcher) Send(m *hubv1.WatchImagesResponse) error {
	select {
	case w.events <- m:
		return nil
	case <-w.ctx.Done():
		return w.ctx.Err()
	}
}

func TestWatchImages(t *testing.T) {
	t.Parallel()
	s, records := desk(t)
	first := putImage(records, storev1.ImageStatus_IMAGE_STATUS_QUEUED)
	putImage(records, storev1.ImageStatus_IMAGE_STATUS_DELETED)
	ctx, cancel := context.WithCancel(auth.With(t.Context(), boss))
	w := &watcher{ctx: ctx, events: make(chan *hubv1.WatchImagesResponse)}
	done := make(chan error, 1)
	go func() { done <- s.WatchImages(&hubv1.WatchImagesRequest{}, w) }()
	want := func(event hubv1.WatchEvent, id string) *hubv1.Image {
		t.Helper()
		var m *hubv1.WatchImagesResponse
		select {
		case m = <-w.events:
		case <-time.After(time.Minute):
			t.Fatalf("no event comes, want %s of %q", event, id)
		}
		if m.Event != event || m.GetImage().GetId() != id {
			t.Errorf("got %v, want %s of %q", m, event, id)
		}
		return m.Image
	}
	want(hubv1.WatchEvent_WATCH_EVENT_UPSERT, first.Id)
	want(hubv1.WatchEvent_WATCH_EVENT_SYNCED, "")
	second := putImage(records, storev1.ImageStatus_IMAGE_STATUS_QUEUED)
	want(hubv1.WatchEvent_WATCH_EVENT_UPSERT, second.Id)
	records.Put(catalog.ReplicaKey(image.ID(first.Id), "dcn0"),
		&storev1.Replica{ImageId: first.Id, StoreId: "dcn0", Phase: storev1.ReplicaPhase_REPLICA_PHASE_PENDING})
	if m := want(hubv1.WatchEvent_WATCH_EVENT_UPSERT, first.Id); !slices.Equal(m.GetImportingToStores(), []string{"dcn0"}) {
		t.Errorf("got %v", m)
	}
	first.Status = storev1.ImageStatus_IMAGE_STATUS_DELETED
	records.Put(catalog.ImageKey(image.ID(first.Id)), first)
	want(hubv1.WatchEvent_WATCH_EVENT_DELETE, first.Id)
	cancel()
	<-done
}
