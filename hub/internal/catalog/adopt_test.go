package catalog_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

func TestAdopt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.queued()
	expected := &storev1.Expected{HashAlgo: "sha512", HashValue: strings.Repeat("0f", 64)}
	ctx := auth.With(t.Context(), &auth.Caller{UserID: "nova", ProjectID: "service", RequestID: "req-1"})
	op, err := w.Adopt(ctx, id, "dcn0", expected)
	if err != nil {
		t.Fatal(err)
	}
	stored, _ := w.records.Operation(image.ID(op.Id))
	if !proto.Equal(stored, op) || op.Kind != storev1.OperationKind_OPERATION_KIND_ADOPT || !proto.Equal(op.Expected, expected) ||
		len(op.Stores) != 1 || op.Stores[0].StoreId != "dcn0" || op.Requester.GetUserId() != "nova" || op.Requester.GetRequestId() != "req-1" {
		t.Errorf("operation %v", stored)
	}
	img, _ := w.records.Image(id)
	if img.Status != storev1.ImageStatus_IMAGE_STATUS_IMPORTING || img.Content.GetAdoptedFrom() != "dcn0" || img.Content.Complete {
		t.Errorf("image %v", img)
	}
	r, _ := w.records.Replica(id, "dcn0")
	if !r.Adopted || r.Phase != pending || r.ContentId != img.Content.Id || r.SiteId != "dcn0" || r.Generation == 0 {
		t.Errorf("replica %v", r)
	}
	_, err = w.Adopt(ctx, id, "dcn1", nil)
	wantFault(t, err, fault.Precondition, "NOT_QUEUED")
}

// All of it is written at once, so that a hub that dies leaves nothing half done.
func TestAdoptIsOneCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.queued()
	before := w.records.Commits()
	if _, err := w.Adopt(t.Context(), id, "dcn0", nil); err != nil {
		t.Fatal(err)
	}
	if n := w.records.Commits() - before; n != 1 {
		t.Errorf("%d commits", n)
	}
}

func TestAdoptRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.queued()
	_, err := w.Adopt(t.Context(), id, "nowhere", nil)
	wantFault(t, err, fault.Invalid, "STORE_UNKNOWN")
	_, err = w.Adopt(t.Context(), image.NewID(), "dcn0", nil)
	wantFault(t, err, fault.NotFound, "IMAGE_NOT_FOUND")
	for field, e := range map[string]*storev1.Expected{
		"hash_algo": {HashAlgo: "crc32", HashValue: "00"},
	} {
		_, err = w.Adopt(t.Context(), id, "dcn0", e)
		wantField(t, err, field)
	}
	for _, bad := range []string{"", "00", strings.Repeat("0", 31), strings.Repeat("0", 33), strings.Repeat("AB", 16), strings.Repeat("zz", 16)} {
		_, err = w.Adopt(t.Context(), id, "dcn0", &storev1.Expected{HashAlgo: "md5", HashValue: bad})
		wantField(t, err, "hash_value")
	}
	bare, err := w.CreateImage(t.Context(), catalog.NewImage{Name: "no formats"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Adopt(t.Context(), image.ID(bare.Id), "dcn0", nil)
	wantFault(t, err, fault.Precondition, "NO_FORMAT")
	tomb := &storev1.Replica{ImageId: string(id), StoreId: "dcn0", SiteId: "dcn0", Phase: deleting}
	if err := w.records.Commit(t.Context(), catalog.Write{Key: catalog.ReplicaKey(id, "dcn0"), Value: tomb}); err != nil {
		t.Fatal(err)
	}
	_, err = w.Adopt(t.Context(), id, "dcn0", nil)
	wantFault(t, err, fault.Precondition, "BEING_DELETED")
	if img, _ := w.records.Image(id); img.Status != storev1.ImageStatus_IMAGE_STATUS_QUEUED || len(w.records.Operations()) > 0 {
		t.Errorf("a refused adoption has changed something: %v", img)
	}
}

// Only the site whose copy it is may send a manifest.
func TestAwaitManifest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.queued()
	if _, err := w.Adopt(t.Context(), id, "dcn0", nil); err != nil {
		t.Fatal(err)
	}
	img, rev := w.records.Image(id)
	content := image.ID(img.Content.Id)
	_, err := w.AwaitManifest(image.NewID(), "dcn0")
	wantFault(t, err, fault.NotFound, "CONTENT_UNKNOWN")
	_, err = w.AwaitManifest(content, "dcn1")
	wantFault(t, err, fault.Denied, "NOT_YOUR_COPY")
	_, err = w.AwaitManifest(content, "dcn0")
	wantFault(t, err, fault.Unavailable, "COPY_UNCONFIRMED")

	img = proto.CloneOf(img)
	img.Content.SizeBytes = 100
	w.put(catalog.ImageKey(id), img, rev)
	for _, site := range []image.SiteID{"dcn0", ""} { // "" is the hub's own host
		if a, err := w.AwaitManifest(content, site); err != nil || a.SizeBytes != 100 || a.Digest != nil {
			t.Errorf("site %q: %v, %v", site, a, err)
		}
	}

	img, rev = w.records.Image(id)
	img = proto.CloneOf(img)
	img.Content.Complete, img.Content.ManifestDigest = true, []byte{7}
	w.put(catalog.ImageKey(id), img, rev)
	_, err = w.AwaitManifest(content, "dcn0")
	wantFault(t, err, fault.Denied, "NOT_YOUR_COPY") // its copy is not published
	r, rev := w.records.Replica(id, "dcn0")
	r = proto.CloneOf(r)
	r.Phase = active
	w.put(catalog.ReplicaKey(id, "dcn0"), r, rev)
	if a, err := w.AwaitManifest(content, "dcn0"); err != nil || a.SizeBytes != 100 || len(a.Digest) != 1 {
		t.Errorf("%v, %v", a, err)
	}
}

// put writes one record.
func (w *world) put(k catalog.Key, v proto.Message, revision int64) {
	w.t.Helper()
	if err := w.records.Commit(w.t.Context(), catalog.Write{Key: k, Value: v, Revision: revision}); err != nil {
		w.t.Fatal(err)
	}
}
