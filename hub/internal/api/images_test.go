package api

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

func TestCreateImage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", time.Time{})
	given := &hubv1.Image{
		Id: string(image.NewID()), Name: "n", DiskFormat: "qcow2", ContainerFormat: "bare", Protected: true, Visibility: hubv1.Visibility_VISIBILITY_PRIVATE,
		Hidden: true, Tags: []string{"b", "a"}, MinDiskGb: 3, MinRamMb: 512, Properties: map[string]string{"k": "v"},
	}
	res, err := w.images.CreateImage(w.as("alice"), &hubv1.CreateImageRequest{Image: given})
	if err != nil {
		t.Fatal(err)
	}
	got := proto.CloneOf(res.GetImage())
	want := proto.CloneOf(given)
	want.Owner, want.Tags, want.Status = "p-a", []string{"a", "b"}, hubv1.ImageStatus_IMAGE_STATUS_QUEUED
	want.Etag, want.CreateTime, want.UpdateTime = got.GetEtag(), got.GetCreateTime(), got.GetUpdateTime()
	if !proto.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, tt := range []struct {
		name, token string
		img         *hubv1.Image
		class       fault.Class
	}{
		{"defaults", "alice", &hubv1.Image{}, none},
		{"id taken", "alice", &hubv1.Image{Id: given.GetId()}, fault.Exists},
		{"bad id", "alice", &hubv1.Image{Id: "x"}, fault.Invalid},
		{"no such visibility", "alice", &hubv1.Image{Visibility: 9}, fault.Invalid},
		{"negative disk", "alice", &hubv1.Image{MinDiskGb: -1}, fault.Invalid},
		{"reserved property", "alice", &hubv1.Image{Properties: map[string]string{"status": "active"}}, fault.Invalid},
		{"property of the hub", "alice", &hubv1.Image{Properties: map[string]string{"atoll_signature": "x"}}, fault.Invalid},
		{"for others", "alice", &hubv1.Image{Owner: "p-b"}, denied},
		{"for others by an administrator", "admin", &hubv1.Image{Owner: "p-b"}, none},
		{"for everybody", "alice", &hubv1.Image{Visibility: hubv1.Visibility_VISIBILITY_PUBLIC}, denied},
		{"for the community", "alice", &hubv1.Image{Visibility: hubv1.Visibility_VISIBILITY_COMMUNITY}, none},
		{"by a reader", "amy", &hubv1.Image{}, denied},
		{"without a project", "noscope", &hubv1.Image{}, denied},
	} {
		if _, err := w.images.CreateImage(w.as(tt.token), &hubv1.CreateImageRequest{Image: tt.img}); classOf(err) != tt.class {
			t.Errorf("%s: %v, want class %v", tt.name, err, tt.class)
		}
	}
}

func TestUpdateImage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", time.Time{})
	id := string(w.queued())
	change := &hubv1.Image{
		Id: id, Name: "n", Protected: true, Hidden: true, Tags: []string{"t"}, MinDiskGb: 1, MinRamMb: 2, DiskFormat: "iso", ContainerFormat: "ova",
		Visibility: hubv1.Visibility_VISIBILITY_COMMUNITY, Properties: map[string]string{"a": "b"},
	}
	res, err := w.images.UpdateImage(w.as("alice"), &hubv1.UpdateImageRequest{Image: change})
	if err != nil {
		t.Fatal(err)
	}
	got := res.GetImage()
	if got.GetName() != "n" || !got.GetProtected() || !got.GetHidden() || !slices.Equal(got.GetTags(), []string{"t"}) || got.GetMinDiskGb() != 1 ||
		got.GetMinRamMb() != 2 || got.GetDiskFormat() != "iso" || got.GetContainerFormat() != "ova" || got.GetProperties()["a"] != "b" ||
		got.GetVisibility() != hubv1.Visibility_VISIBILITY_COMMUNITY || got.GetOwner() != "p-a" {
		t.Errorf("got %v", got)
	}
	update := func(img *hubv1.Image, paths ...string) error {
		img.Id = id
		_, err := w.images.UpdateImage(w.as("alice"), &hubv1.UpdateImageRequest{Image: img, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}})
		return err
	}
	if err := update(&hubv1.Image{}, "name", "protected", "hidden", "tags", "min_disk_gb", "min_ram_mb", "properties", "name"); err != nil {
		t.Fatal(err)
	}
	stored, _ := w.records.Image(image.ID(id))
	if stored.Name != "" || stored.Protected || stored.Hidden || len(stored.Tags) > 0 || stored.MinDiskGb+stored.MinRamMb != 0 || len(stored.Properties) > 0 {
		t.Errorf("after emptying it: %v", stored)
	}
	for name, err := range map[string]error{
		"unknown field":  update(&hubv1.Image{}, "size_bytes"),
		"no visibility":  update(&hubv1.Image{}, "visibility"),
		"bad etag":       update(&hubv1.Image{Etag: "?"}, "name"),
		"unknown format": update(&hubv1.Image{DiskFormat: "floppy"}, "disk_format"),
	} {
		if classOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := update(&hubv1.Image{Etag: "1"}, "name"); fault.ReasonOf(fromStatus(err)) != "STALE_ETAG" {
		t.Errorf("stale etag: %v", err)
	}
}

// TestUpdateIsJudgedByWhatItChanges gives the image away while its former owner changes it.
func TestUpdateIsJudgedByWhatItChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", time.Time{})
	id := w.add(storev1.Visibility_VISIBILITY_PRIVATE, nil)
	change := func(f func(*storev1.Image)) func() {
		return func() {
			old, _ := w.records.Image(id)
			img := proto.CloneOf(old)
			f(img)
			w.records.Put(catalog.ImageKey(id), img)
		}
	}
	w.records.RaceNext(change(func(i *storev1.Image) { i.Hidden = true }))
	req := &hubv1.UpdateImageRequest{Image: &hubv1.Image{Id: string(id), Name: "mine"}}
	if _, err := w.images.UpdateImage(w.as("alice"), req); err != nil {
		t.Error(err)
	}
	if img, _ := w.records.Image(id); img.Name != "mine" || !img.Hidden {
		t.Errorf("one of two changes is lost: %v", img)
	}
	w.records.RaceNext(change(func(i *storev1.Image) { i.Owner = "p-b" }))
	req.Image.Name = "still mine"
	if _, err := w.images.UpdateImage(w.as("alice"), req); classOf(err) != hidden {
		t.Errorf("changing what is no longer hers: %v", err)
	}
	if img, _ := w.records.Image(id); img.Name != "mine" {
		t.Errorf("it was changed: %v", img)
	}
}

// TestStageAndImport brings data in by two calls, and follows it with the owner's token.
func TestStageAndImport(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", time.Time{})
	id := string(w.queued())
	if err := w.stage(w.as("alice"), id); err != nil {
		t.Fatal(err)
	}
	img, err := w.images.GetImage(w.as("amy"), &hubv1.GetImageRequest{Id: id})
	if err != nil || img.GetImage().GetStatus() != hubv1.ImageStatus_IMAGE_STATUS_UPLOADING || img.GetImage().GetSizeBytes() != 4 {
		t.Fatalf("staged: %v, %v", img, err)
	}
	target := &hubv1.StoreSelection{Stores: []string{"dcn1"}}
	_, err = w.images.ImportImage(w.as("alice"), &hubv1.ImportImageRequest{Id: id, Staged: true, Uri: "http://x/y", Target: target})
	if classOf(err) != fault.Invalid {
		t.Errorf("staged and a URI: %v", err)
	}
	res, err := w.images.ImportImage(w.as("alice"), &hubv1.ImportImageRequest{Id: id, Staged: true, Target: target})
	if err != nil {
		t.Fatal(err)
	}
	op := res.GetOperation()
	if op.GetUserId() != "alice" || op.GetProjectId() != "p-a" || op.GetRequestId() == "" || op.GetSourceBytesDone() != 4 || len(op.GetStores()) != 2 {
		t.Errorf("operation %v", op)
	}
	if err := w.stage(w.as("alice"), id); classOf(err) != fault.Precondition {
		t.Errorf("staging again: %v", err)
	}
}

func TestAdoptLocation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", time.Time{})
	id := string(w.queued())
	for url, class := range map[string]fault.Class{
		"":                                     fault.Invalid,
		"http://x/y":                           fault.Invalid,
		"file://f-dcn0/images/" + id + "/snap": fault.Invalid,
		"rbd://f-dcn0/vms/" + id + "/snap":     fault.Invalid,
		"rbd://f-dcn0/images/other/snap":       fault.Invalid,
		"rbd://f-dcn0/images/" + id + "/x":     fault.Invalid,
	} {
		if _, err := w.images.AdoptLocation(w.as("nova"), &hubv1.AdoptLocationRequest{Id: id, Url: url}); classOf(err) != hidden {
			t.Errorf("nova sees %q: %v", url, err)
		}
		if _, err := w.images.AdoptLocation(w.as("admin"), &hubv1.AdoptLocationRequest{Id: id, Url: url}); classOf(err) != class {
			t.Errorf("%q: %v", url, err)
		}
	}
	url := "rbd://f-dcn0/images/" + id + "/snap"
	bad := &hubv1.DataDigest{Algorithm: "crc32", Value: "00"}
	if _, err := w.images.AdoptLocation(w.as("admin"), &hubv1.AdoptLocationRequest{Id: id, Url: url, Expected: bad}); classOf(err) != fault.Invalid {
		t.Errorf("bad digest: %v", err)
	}
	good := &hubv1.DataDigest{Algorithm: "md5", Value: "D41D8CD98F00B204E9800998ECF8427E"}
	res, err := w.images.AdoptLocation(w.as("admin"), &hubv1.AdoptLocationRequest{Id: id, Url: url, Expected: good})
	if op := res.GetOperation(); err != nil || op.GetKind() != hubv1.OperationKind_OPERATION_KIND_ADOPT || op.GetStores()[0].GetStoreId() != "dcn0" {
		t.Errorf("%v, %v", op, err)
	}
}

func TestListFilters(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", time.Time{})
	add := func(f func(*storev1.Image)) string { return string(w.add(storev1.Visibility_VISIBILITY_PUBLIC, f)) }
	plain := add(func(i *storev1.Image) { i.Name = "plain" })
	tagged := add(func(i *storev1.Image) { i.Tags = []string{"a", "b"} })
	other := add(func(i *storev1.Image) { i.Owner, i.Tags = "p-b", []string{"a"} })
	hiddenOne := add(func(i *storev1.Image) { i.Hidden = true })
	going := add(func(i *storev1.Image) { i.Status = storev1.ImageStatus_IMAGE_STATUS_DELETING })
	for _, tt := range []struct {
		req  *hubv1.ListImagesRequest
		want []string
	}{
		{&hubv1.ListImagesRequest{}, []string{plain, tagged, other, going}},
		{&hubv1.ListImagesRequest{Name: "plain"}, []string{plain}},
		{&hubv1.ListImagesRequest{Owner: "p-b"}, []string{other}},
		{&hubv1.ListImagesRequest{Tags: []string{"a"}}, []string{tagged, other}},
		{&hubv1.ListImagesRequest{Tags: []string{"a", "b"}}, []string{tagged}},
		{&hubv1.ListImagesRequest{IncludeHidden: true}, []string{plain, tagged, other, hiddenOne, going}},
		{&hubv1.ListImagesRequest{Status: hubv1.ImageStatus_IMAGE_STATUS_DELETING}, []string{going}},
		{&hubv1.ListImagesRequest{Visibility: hubv1.Visibility_VISIBILITY_PRIVATE}, nil},
	} {
		var got []string
		for token := ""; ; {
			tt.req.PageToken, tt.req.PageSize = token, 2
			res, err := w.images.ListImages(w.as("carol"), tt.req)
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range res.GetImages() {
				got = append(got, i.GetId())
			}
			if token = res.GetNextPageToken(); token == "" {
				break
			}
		}
		slices.Sort(got)
		slices.Sort(tt.want)
		if !slices.Equal(got, tt.want) {
			t.Errorf("%v: got %v, want %v", tt.req, got, tt.want)
		}
	}
	for name, req := range map[string]*hubv1.ListImagesRequest{"visibility": {Visibility: 9}, "member status": {MemberStatus: 9}} {
		if _, err := w.images.ListImages(w.as("carol"), req); classOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	first, err := w.images.ListImages(w.as("carol"), &hubv1.ListImagesRequest{PageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.images.ListImages(w.as("carol"), &hubv1.ListImagesRequest{PageToken: first.GetNextPageToken(), Owner: "p-b"})
	if classOf(err) != fault.Invalid {
		t.Errorf("a token of another list: %v", err)
	}
}

func TestMembers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", time.Time{})
	id := string(w.add(storev1.Visibility_VISIBILITY_SHARED, shared))
	members := func(token string) (out []string) {
		t.Helper()
		res, err := w.images.ListMembers(w.as(token), &hubv1.ListMembersRequest{ImageId: id})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range res.GetMembers() {
			out = append(out, m.GetProjectId()+" "+m.GetStatus().String())
		}
		return out
	}
	if got := members("alice"); !slices.Equal(got, []string{"p-b MEMBER_STATUS_ACCEPTED", "p-c MEMBER_STATUS_PENDING"}) {
		t.Errorf("the owner sees %v", got)
	}
	if got := members("carol"); !slices.Equal(got, []string{"p-c MEMBER_STATUS_PENDING"}) {
		t.Errorf("a member sees %v", got)
	}
	reject := &hubv1.UpdateMemberRequest{ImageId: id, Status: hubv1.MemberStatus_MEMBER_STATUS_REJECTED}
	if res, err := w.images.UpdateMember(w.as("carol"), reject); err != nil || res.GetMember().GetProjectId() != "p-c" {
		t.Errorf("%v, %v", res, err)
	}
	for name, tt := range map[string]struct {
		err   error
		class fault.Class
	}{
		"twice":   {second(w.images.AddMember(w.as("alice"), &hubv1.AddMemberRequest{ImageId: id, ProjectId: "p-b"})), fault.Exists},
		"nobody":  {second(w.images.AddMember(w.as("alice"), &hubv1.AddMemberRequest{ImageId: id})), fault.Invalid},
		"unknown": {second(w.images.RemoveMember(w.as("alice"), &hubv1.RemoveMemberRequest{ImageId: id, ProjectId: "p-z"})), hidden},
		"status":  {second(w.images.UpdateMember(w.as("carol"), &hubv1.UpdateMemberRequest{ImageId: id, Status: 9})), fault.Invalid},
		"unsaid":  {second(w.images.UpdateMember(w.as("carol"), &hubv1.UpdateMemberRequest{ImageId: id})), fault.Invalid},
	} {
		if classOf(tt.err) != tt.class {
			t.Errorf("%s: %v", name, tt.err)
		}
	}
}

func second[T any](_ T, err error) error { return err }
