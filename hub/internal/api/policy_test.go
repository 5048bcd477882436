package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

const (
	none   = fault.Class(-1)
	hidden = fault.NotFound
	denied = fault.Denied
)

// TestRules makes every call as callers of every kind.
func TestRules(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", time.Time{})
	private := func() string { return string(w.add(storev1.Visibility_VISIBILITY_PRIVATE, nil)) }
	withMembers := func() string { return string(w.add(storev1.Visibility_VISIBILITY_SHARED, shared)) }
	public := func() string { return string(w.add(storev1.Visibility_VISIBILITY_PUBLIC, nil)) }
	newcomer := func() string { return string(w.queued()) }
	mask := func(paths ...string) *fieldmaskpb.FieldMask { return &fieldmaskpb.FieldMask{Paths: paths} }
	target := &hubv1.StoreSelection{Stores: []string{"dcn0"}}
	update := func(ctx context.Context, img *hubv1.Image, paths ...string) error {
		_, err := w.images.UpdateImage(ctx, &hubv1.UpdateImageRequest{Image: img, UpdateMask: mask(paths...)})
		return err
	}
	type call func(ctx context.Context, id string) error
	type want map[string]fault.Class
	show := func(ctx context.Context, id string) error {
		_, err := w.images.GetImage(ctx, &hubv1.GetImageRequest{Id: id})
		return err
	}
	for _, tt := range []struct {
		name string
		on   func() string
		call call
		want want // by token
	}{
		{"show private", private, show, want{
			"": fault.Unauthenticated, "wrong": fault.Unauthenticated, "admin": none, "alice": none, "amy": none, "bob": hidden, "norole": hidden, "nova": hidden,
		}},
		{"show shared", withMembers, show, want{"alice": none, "bob": none, "carol": none, "nova": hidden, "noscope": hidden}},
		{"show public", public, show, want{"bob": none, "amy": none, "norole": hidden}},
		{"rename", private, func(ctx context.Context, id string) error {
			return update(ctx, &hubv1.Image{Id: id, Name: "new"}, "name")
		}, want{"admin": none, "alice": none, "amy": denied, "bob": hidden}},
		{"rename public", public, func(ctx context.Context, id string) error {
			return update(ctx, &hubv1.Image{Id: id, Name: "new"}, "name")
		}, want{"alice": none, "bob": denied}},
		{"publish", private, func(ctx context.Context, id string) error {
			return update(ctx, &hubv1.Image{Id: id, Visibility: hubv1.Visibility_VISIBILITY_PUBLIC}, "visibility")
		}, want{"admin": none, "alice": denied, "bob": hidden}},
		{"give to the community", private, func(ctx context.Context, id string) error {
			return update(ctx, &hubv1.Image{Id: id, Visibility: hubv1.Visibility_VISIBILITY_COMMUNITY}, "visibility")
		}, want{"alice": none, "amy": denied}},
		{"give away", private, func(ctx context.Context, id string) error {
			return update(ctx, &hubv1.Image{Id: id, Owner: "p-b"}, "owner")
		}, want{"admin": none, "alice": denied}},
		{"delete", private, func(ctx context.Context, id string) error {
			_, err := w.images.DeleteImage(ctx, &hubv1.DeleteImageRequest{Id: id})
			return err
		}, want{"admin": none, "alice": none, "amy": denied, "bob": hidden}},
		{"download", public, w.download, want{"alice": none, "bob": none, "amy": denied, "norole": hidden}},
		{"download deactivated", func() string {
			return string(w.add(storev1.Visibility_VISIBILITY_PUBLIC, func(i *storev1.Image) { i.Deactivated = true }))
		}, w.download, want{"admin": none, "alice": denied}},
		{"deactivate", public, func(ctx context.Context, id string) error {
			_, err := w.images.DeactivateImage(ctx, &hubv1.DeactivateImageRequest{Id: id})
			return err
		}, want{"admin": none, "alice": none, "bob": denied, "amy": denied}},
		{"reactivate", public, func(ctx context.Context, id string) error {
			_, err := w.images.ReactivateImage(ctx, &hubv1.ReactivateImageRequest{Id: id})
			return err
		}, want{"alice": none, "bob": denied}},
		{"import", newcomer, func(ctx context.Context, id string) error {
			_, err := w.images.ImportImage(ctx, &hubv1.ImportImageRequest{Id: id, Uri: "http://x/y", Target: target})
			return err
		}, want{"admin": none, "alice": none, "amy": denied, "bob": hidden}},
		{"upload", newcomer, w.upload, want{"alice": none, "amy": denied, "bob": hidden}},
		{"stage", newcomer, w.stage, want{"alice": none, "amy": denied, "bob": hidden}},
		{"adopt", newcomer, func(ctx context.Context, id string) error {
			_, err := w.images.AdoptLocation(ctx, &hubv1.AdoptLocationRequest{Id: id, Url: "rbd://f-dcn0/images/" + id + "/snap"})
			return err
		}, want{"admin": none, "novice": none, "alice": denied, "amy": denied, "bob": hidden}},
		{"copy", func() string {
			id := w.add(storev1.Visibility_VISIBILITY_PUBLIC, nil)
			w.records.Put(catalog.ReplicaKey(id, "dcn0"), nil)
			return string(id)
		}, func(ctx context.Context, id string) error {
			_, err := w.replicas.ReplicateImage(ctx, &hubv1.ReplicateImageRequest{ImageId: id, Target: target})
			return err
		}, want{"admin": none, "alice": none, "bob": none, "amy": denied, "norole": hidden}},
		{"show copy", private, func(ctx context.Context, id string) error {
			_, err := w.replicas.GetReplica(ctx, &hubv1.GetReplicaRequest{ImageId: id, StoreId: "dcn0"})
			return err
		}, want{"amy": none, "bob": hidden}},
		{"delete copy", public, func(ctx context.Context, id string) error {
			_, err := w.replicas.DeleteReplica(ctx, &hubv1.DeleteReplicaRequest{ImageId: id, StoreId: "dcn0"})
			return err
		}, want{"admin": none, "alice": denied, "bob": denied, "norole": hidden}},
		{"retry copy", private, func(ctx context.Context, id string) error {
			_, err := w.replicas.RetryReplica(ctx, &hubv1.RetryReplicaRequest{ImageId: id, StoreId: "dcn0"})
			return err
		}, want{"admin": fault.Exists, "amy": denied, "bob": hidden}},
		{"verify copy", private, func(ctx context.Context, id string) error {
			_, err := w.replicas.VerifyReplica(ctx, &hubv1.VerifyReplicaRequest{ImageId: id, StoreId: "dcn0"})
			return err
		}, want{"admin": none, "alice": denied, "bob": hidden}},
		{"add member", withMembers, func(ctx context.Context, id string) error {
			_, err := w.images.AddMember(ctx, &hubv1.AddMemberRequest{ImageId: id, ProjectId: "p-d"})
			return err
		}, want{"admin": none, "alice": none, "amy": denied, "bob": denied, "nova": hidden}},
		{"accept", withMembers, func(ctx context.Context, id string) error {
			_, err := w.images.UpdateMember(ctx, &hubv1.UpdateMemberRequest{ImageId: id, Status: hubv1.MemberStatus_MEMBER_STATUS_ACCEPTED})
			return err
		}, want{"bob": none, "carol": none, "alice": denied, "nova": hidden}},
		{"accept for another", withMembers, func(ctx context.Context, id string) error {
			_, err := w.images.UpdateMember(ctx, &hubv1.UpdateMemberRequest{
				ImageId: id, ProjectId: "p-c", Status: hubv1.MemberStatus_MEMBER_STATUS_ACCEPTED,
			})
			return err
		}, want{"admin": none, "bob": hidden, "carol": none}},
		{"remove member", withMembers, func(ctx context.Context, id string) error {
			_, err := w.images.RemoveMember(ctx, &hubv1.RemoveMemberRequest{ImageId: id, ProjectId: "p-b"})
			return err
		}, want{"alice": none, "bob": denied, "carol": denied}},
		{"members of a private image", private, func(ctx context.Context, id string) error {
			_, err := w.images.ListMembers(ctx, &hubv1.ListMembersRequest{ImageId: id})
			return err
		}, want{"alice": denied, "bob": hidden}},
		{"sites", private, func(ctx context.Context, _ string) error {
			_, err := w.sites.ListSites(ctx, &hubv1.ListSitesRequest{})
			return err
		}, want{"admin": none, "alice": denied, "nova": denied, "": fault.Unauthenticated}},
		{"limits", private, func(ctx context.Context, _ string) error {
			_, err := w.limits.GetHubLimits(ctx, &hubv1.GetHubLimitsRequest{})
			return err
		}, want{"admin": none, "alice": denied, "nova": denied, "": fault.Unauthenticated}},
		{"set limits", private, func(ctx context.Context, _ string) error {
			_, err := w.limits.UpdateHubLimits(ctx, &hubv1.UpdateHubLimitsRequest{UseFlags: true})
			return err
		}, want{"admin": none, "alice": denied, "nova": denied, "": fault.Unauthenticated}},
		{"join token", private, func(ctx context.Context, _ string) error {
			_, err := w.sites.CreateJoinToken(ctx, &hubv1.CreateJoinTokenRequest{SiteId: "dcn0"})
			return err
		}, want{"admin": none, "alice": denied}},
		{"revoke", private, func(ctx context.Context, _ string) error {
			_, err := w.sites.RevokeCertificates(ctx, &hubv1.RevokeCertificatesRequest{SiteId: "dcn0"})
			return err
		}, want{"admin": none, "alice": denied}},
		{"list images", private, func(ctx context.Context, _ string) error {
			_, err := w.images.ListImages(ctx, &hubv1.ListImagesRequest{})
			return err
		}, want{"alice": none, "norole": denied, "": fault.Unauthenticated}},
	} {
		for token, class := range tt.want {
			id := tt.on()
			if got := classOf(tt.call(w.as(token), id)); got != class {
				t.Errorf("%s as %q: class %v, want %v", tt.name, token, got, class)
			}
		}
	}
}

// TestSameAsTheImageAPI compares what callers see by id and in lists with what the Image API shows them.
func TestSameAsTheImageAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", time.Time{})
	var ids []image.ID
	for v := storev1.Visibility_VISIBILITY_PRIVATE; v <= storev1.Visibility_VISIBILITY_PUBLIC; v++ {
		ids = append(ids, w.add(v, nil), w.add(v, shared), w.add(v, func(i *storev1.Image) { i.Owner = "" }),
			w.add(v, func(i *storev1.Image) { i.Owner, i.Hidden = "p-b", true }), w.add(v, func(i *storev1.Image) { i.Owner = "p-b" }))
	}
	rt := imageapi.NewRouter()
	(&imageapi.Reads{Source: w.index, Policy: w.policy}).Register(rt)
	h := rt.Serve(imageapi.Options{Verifier: door{}, Log: hclog.NewNullLogger()})
	get := func(token, path string) (int, []byte) {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("X-Auth-Token", token)
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		return rec.Code, rec.Body.Bytes()
	}
	for token := range callers {
		for _, id := range ids {
			code, _ := get(token, "/v2/images/"+string(id))
			_, err := w.images.GetImage(w.as(token), &hubv1.GetImageRequest{Id: string(id)})
			if seen := code == http.StatusOK; seen != (err == nil) || !seen && classOf(err) != hidden {
				t.Errorf("%s sees %v: HTTP %d, gRPC %v", token, w.index.Image(id), code, err)
			}
		}
		for query, req := range map[string]*hubv1.ListImagesRequest{
			"":                       {},
			"visibility=public":      {Visibility: hubv1.Visibility_VISIBILITY_PUBLIC},
			"visibility=community":   {Visibility: hubv1.Visibility_VISIBILITY_COMMUNITY},
			"visibility=shared":      {Visibility: hubv1.Visibility_VISIBILITY_SHARED},
			"visibility=private":     {Visibility: hubv1.Visibility_VISIBILITY_PRIVATE},
			"member_status=pending":  {MemberStatus: hubv1.MemberStatus_MEMBER_STATUS_PENDING},
			"owner=p-b":              {Owner: "p-b"},
			"member_status=rejected": {MemberStatus: hubv1.MemberStatus_MEMBER_STATUS_REJECTED},
		} {
			code, body := get(token, "/v2/images?limit=1000&"+query)
			var page struct{ Images []struct{ ID string } }
			if code == http.StatusOK {
				if err := json.Unmarshal(body, &page); err != nil {
					t.Fatal(err)
				}
			}
			res, err := w.images.ListImages(w.as(token), req)
			if (code == http.StatusOK) != (err == nil) {
				t.Errorf("%s lists %q: HTTP %d, gRPC %v", token, query, code, err)
			}
			var there, here []string
			for _, i := range page.Images {
				there = append(there, i.ID)
			}
			for _, i := range res.GetImages() {
				here = append(here, i.GetId())
			}
			if !slices.Equal(there, here) {
				t.Errorf("%s lists %q: %d images by HTTP, %d by gRPC", token, query, len(there), len(here))
			}
		}
	}
}

func TestLocationsAreForServices(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", time.Time{})
	id := string(w.add(storev1.Visibility_VISIBILITY_PUBLIC, nil))
	op := w.begin(storev1.OperationKind_OPERATION_KIND_COPY, image.ID(id), "p-a")
	for token, want := range map[string]string{"alice": "", "admin": "central dcn0 dcn1", "novice": "dcn1 central dcn0"} {
		img, err := w.images.GetImage(w.as(token), &hubv1.GetImageRequest{Id: id})
		if err != nil {
			t.Fatal(err)
		}
		var stores []string
		for _, l := range img.GetImage().GetLocations() {
			stores = append(stores, l.GetStore())
		}
		if got := strings.Join(stores, " "); got != want || len(img.GetImage().GetStores()) != 3 {
			t.Errorf("%s sees locations %q in %v", token, got, img)
		}
		r, err := w.replicas.GetReplica(w.as(token), &hubv1.GetReplicaRequest{ImageId: id, StoreId: "dcn0"})
		if err != nil || (r.GetReplica().GetLocation() != "") != (want != "") {
			t.Errorf("%s sees replica %v, %v", token, r, err)
		}
		o, err := w.operations.GetOperation(w.as(token), &hubv1.GetOperationRequest{Id: op})
		if err != nil || (o.GetOperation().GetStores()[0].GetReplica().GetLocation() != "") != (want != "") {
			t.Errorf("%s sees operation %v, %v", token, o, err)
		}
	}
}

// The base of a copy is named to those who may see its image.
func TestBasesOfOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", time.Time{})
	base := w.add(storev1.Visibility_VISIBILITY_PRIVATE, nil)
	id := w.add(storev1.Visibility_VISIBILITY_PUBLIC, nil)
	r, _ := w.records.Replica(id, "dcn0")
	r = proto.CloneOf(r)
	r.BaseImageId, r.BaseReason, r.BasePercent = string(base), storev1.BaseReason_BASE_REASON_CONTENT, proto.Int32(70)
	w.records.Put(catalog.ReplicaKey(id, "dcn0"), r)
	for token, sees := range map[string]bool{"admin": true, "alice": true, "bob": false} {
		r, err := w.replicas.GetReplica(w.as(token), &hubv1.GetReplicaRequest{ImageId: string(id), StoreId: "dcn0"})
		if err != nil {
			t.Fatal(err)
		}
		b := r.GetReplica().GetBase()
		if (b != nil) != sees || sees && (b.GetReason() != hubv1.BaseReason_BASE_REASON_CONTENT || b.GetPercent() != 70) {
			t.Errorf("%s sees base %v", token, b)
		}
	}
}

func TestStoresShowTheirInsidesToFew(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", time.Time{})
	for token, inside := range map[string]bool{"admin": true, "nova": true, "alice": false, "norole": false} {
		all, err := w.stores.ListStores(w.as(token), &hubv1.ListStoresRequest{})
		if err != nil || len(all.GetStores()) != 3 || !all.GetStores()[0].GetCentral() {
			t.Fatalf("%s: %v, %v", token, all, err)
		}
		one, err := w.stores.GetStore(w.as(token), &hubv1.GetStoreRequest{Id: "dcn0"})
		if err != nil || (one.GetStore().GetFsid() != "") != inside || (one.GetStore().GetPool() != "") != inside {
			t.Errorf("%s sees %v, %v", token, one, err)
		}
	}
}

func TestOperationsOfOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", time.Time{})
	id := w.add(storev1.Visibility_VISIBILITY_PUBLIC, nil)
	mine := w.begin(storev1.OperationKind_OPERATION_KIND_COPY, id, "p-a")
	guest := w.begin(storev1.OperationKind_OPERATION_KIND_COPY, id, "p-b")
	check := w.begin(storev1.OperationKind_OPERATION_KIND_VERIFY, id, "p-admin")
	gone := w.begin(storev1.OperationKind_OPERATION_KIND_DELETE_IMAGE, image.NewID(), "p-c")
	for token, want := range map[string][]string{
		"admin": {mine, guest, check, gone}, "alice": {mine, guest, check}, "amy": {mine, guest, check}, "bob": {guest}, "carol": {gone}, "noscope": nil,
	} {
		list, err := w.operations.ListOperations(w.as(token), &hubv1.ListOperationsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		for _, op := range []string{mine, guest, check, gone} {
			listed := slices.ContainsFunc(list.GetOperations(), func(o *hubv1.Operation) bool { return o.GetId() == op })
			_, err := w.operations.GetOperation(w.as(token), &hubv1.GetOperationRequest{Id: op})
			if sees := slices.Contains(want, op); listed != sees || (err == nil) != sees || err != nil && classOf(err) != hidden {
				t.Errorf("%s and operation %s: listed %t, %v", token, op, listed, err)
			}
		}
	}
	for _, tt := range []struct {
		token, op string
		class     fault.Class
	}{
		{"carol", mine, hidden},
		{"amy", mine, denied},
		{"bob", mine, hidden},
		{"alice", check, denied},
		{"carol", gone, denied},
		{"alice", guest, none},
		{"alice", mine, none},
		{"admin", check, none},
		{"admin", gone, fault.Precondition},
	} {
		_, err := w.operations.CancelOperation(w.as(tt.token), &hubv1.CancelOperationRequest{Id: tt.op})
		if got := classOf(err); got != tt.class {
			t.Errorf("%s cancels %s: %v, want %v", tt.token, tt.op, got, tt.class)
		}
	}
}

// TestWatchFollowsRights watches an image that is shared and then no more.
func TestWatchFollowsRights(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", time.Time{})
	w.add(storev1.Visibility_VISIBILITY_PRIVATE, nil)
	id := w.add(storev1.Visibility_VISIBILITY_SHARED, nil)
	stream, err := w.images.WatchImages(w.as("bob"), &hubv1.WatchImagesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	want := func(event hubv1.WatchEvent, id string) {
		t.Helper()
		m, err := stream.Recv()
		if err != nil || m.GetEvent() != event || m.GetImage().GetId() != id {
			t.Fatalf("got %v, %v; want %v of %q", m, err, event, id)
		}
	}
	want(hubv1.WatchEvent_WATCH_EVENT_SYNCED, "")
	if _, err := w.catalog.AddMember(t.Context(), id, "p-b"); err != nil {
		t.Fatal(err)
	}
	want(hubv1.WatchEvent_WATCH_EVENT_UPSERT, string(id))
	if err := w.catalog.RemoveMember(t.Context(), id, "p-b"); err != nil {
		t.Fatal(err)
	}
	want(hubv1.WatchEvent_WATCH_EVENT_DELETE, string(id))
}

// TestWatchesEndWithTheirToken starts everything that waits, with a token that is about to expire.
func TestWatchesEndWithTheirToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", time.Now().Add(150*time.Millisecond))
	id := w.add(storev1.Visibility_VISIBILITY_PRIVATE, nil)
	op := w.begin(storev1.OperationKind_OPERATION_KIND_COPY, id, "p-a")
	ends := map[string]error{}
	images, err := w.images.WatchImages(w.as("alice"), &hubv1.WatchImagesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	operation, err := w.operations.WatchOperation(w.as("alice"), &hubv1.WatchOperationRequest{Id: op})
	if err != nil {
		t.Fatal(err)
	}
	_, ends["WaitOperation"] = w.operations.WaitOperation(w.as("alice"), &hubv1.WaitOperationRequest{Id: op})
	for err == nil {
		_, err = images.Recv()
	}
	ends["WatchImages"], err = err, nil
	for err == nil {
		_, err = operation.Recv()
	}
	ends["WatchOperation"] = err
	for name, err := range ends {
		if e := fromStatus(err); fault.ReasonOf(e) != "TOKEN_EXPIRED" || !fault.Is(e, fault.Unauthenticated) {
			t.Errorf("%s ended with %v", name, e)
		}
	}
}

func TestProtectedProperties(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "[^secret_]\ncreate=admin\nread=admin\nupdate=admin\ndelete=admin\n"+
		"[^fixed_]\ncreate=admin\nread=@\nupdate=admin\ndelete=admin\n[.*]\ncreate=@\nread=@\nupdate=@\ndelete=@\n", time.Time{})
	id := string(w.add(storev1.Visibility_VISIBILITY_PRIVATE, func(i *storev1.Image) {
		i.Properties = map[string]string{"secret_a": "1", "fixed_a": "1", "free": "1"}
	}))
	img, err := w.images.GetImage(w.as("alice"), &hubv1.GetImageRequest{Id: id})
	if p := img.GetImage().GetProperties(); err != nil || len(p) != 2 || p["secret_a"] != "" {
		t.Errorf("alice sees %v, %v", p, err)
	}
	for _, tt := range []struct {
		name  string
		set   map[string]string
		class fault.Class
		after map[string]string
	}{
		{"change a fixed one", map[string]string{"fixed_a": "2"}, denied, nil},
		{"remove a fixed one", map[string]string{"free": "1"}, denied, nil},
		{"bring a fixed one", map[string]string{"fixed_a": "1", "fixed_b": "1"}, denied, nil},
		{"bring a secret", map[string]string{"fixed_a": "1", "secret_b": "1"}, denied, nil},
		{"overwrite a secret", map[string]string{"fixed_a": "1", "secret_a": "2"}, denied, nil},
		{"reserved name", map[string]string{"fixed_a": "1", "checksum": "1"}, fault.Invalid, nil},
		{"change what is free", map[string]string{"fixed_a": "1", "other": "1"}, none, map[string]string{"secret_a": "1", "fixed_a": "1", "other": "1"}},
		{"keep all", map[string]string{"fixed_a": "1", "other": "1"}, none, map[string]string{"secret_a": "1", "fixed_a": "1", "other": "1"}},
	} {
		_, err := w.images.UpdateImage(w.as("alice"), &hubv1.UpdateImageRequest{
			Image: &hubv1.Image{Id: id, Properties: tt.set}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"properties"}},
		})
		if got := classOf(err); got != tt.class {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.class)
		}
		if tt.after == nil {
			continue
		}
		stored, _ := w.records.Image(image.ID(id))
		for k, v := range tt.after {
			if stored.Properties[k] != v || len(stored.Properties) != len(tt.after) {
				t.Errorf("%s: %v", tt.name, stored.Properties)
			}
		}
	}
	_, err = w.images.CreateImage(w.as("alice"), &hubv1.CreateImageRequest{Image: &hubv1.Image{Properties: map[string]string{"fixed_x": "1"}}})
	if classOf(err) != denied {
		t.Errorf("creating with a fixed one: %v", err)
	}
}

func (w *world) download(ctx context.Context, id string) error {
	stream, err := w.images.DownloadImage(ctx, &hubv1.DownloadImageRequest{Id: id})
	for err == nil {
		_, err = stream.Recv()
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (w *world) upload(ctx context.Context, id string) error {
	stream, err := w.images.UploadImage(ctx)
	if err != nil {
		return err
	}
	header := &hubv1.UploadHeader{Id: id, Target: &hubv1.StoreSelection{Stores: []string{"central"}}}
	_ = stream.Send(&hubv1.UploadImageRequest{Part: &hubv1.UploadImageRequest_Header{Header: header}})
	_ = stream.Send(&hubv1.UploadImageRequest{Part: &hubv1.UploadImageRequest_Data{Data: []byte("data")}})
	_, err = stream.CloseAndRecv()
	return err
}

func (w *world) stage(ctx context.Context, id string) error {
	stream, err := w.images.StageImage(ctx)
	if err != nil {
		return err
	}
	_ = stream.Send(&hubv1.StageImageRequest{Part: &hubv1.StageImageRequest_Header{Header: &hubv1.StageHeader{Id: id}}})
	_ = stream.Send(&hubv1.StageImageRequest{Part: &hubv1.StageImageRequest_Data{Data: []byte("data")}})
	_, err = stream.CloseAndRecv()
	return err
}

// TestOpenToEverybody asks for what shows no records, without a token.
func TestOpenToEverybody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", time.Time{})
	health, err := healthv1.NewHealthClient(w.conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil || health.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("health: %v, %v", health, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := reflectionv1.NewServerReflectionClient(w.conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	req := &reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}
	if err := stream.Send(req); err != nil {
		t.Fatal(err)
	}
	res, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Image", "Operation", "Replica", "Site", "Store"} {
		if !slices.ContainsFunc(res.GetListServicesResponse().GetService(), func(s *reflectionv1.ServiceResponse) bool {
			return s.GetName() == "atoll.hub.v1."+name+"Service"
		}) {
			t.Errorf("reflection does not show the %s service: %v", name, res)
		}
	}
	// Each call has an id that comes back, also when it is refused.
	var header metadata.MD
	_, err = w.images.GetImage(t.Context(), &hubv1.GetImageRequest{Id: string(image.NewID())}, grpc.Header(&header))
	if ids := header.Get("x-request-id"); classOf(err) != fault.Unauthenticated || len(ids) != 1 || !strings.HasPrefix(ids[0], "req-") {
		t.Errorf("request ids %v, %v", ids, err)
	}
}
