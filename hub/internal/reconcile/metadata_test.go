package reconcile

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// described returns an active image with all there is to say, and its published copy.
func described() (*storev1.Image, *storev1.Replica) {
	at := &timestamppb.Timestamp{Seconds: 1}
	img := &storev1.Image{
		Id: "i", Name: "n", Status: storev1.ImageStatus_IMAGE_STATUS_ACTIVE, CreateTime: at, UpdateTime: at, DiskFormat: "raw",
		ContainerFormat: "bare", Properties: map[string]string{"k": "v"}, Protected: true, Owner: "p1",
		Visibility: storev1.Visibility_VISIBILITY_COMMUNITY, Hidden: true, Tags: []string{"t"}, MinDiskGb: 2, MinRamMb: 3,
		Members: []*storev1.Member{{ProjectId: "p2", Status: storev1.MemberStatus_MEMBER_STATUS_REJECTED, CreateTime: at, UpdateTime: at}},
		Content: &storev1.Content{Id: "c", Complete: true, SizeBytes: 4, VirtualSizeBytes: 5, Md5: "m", Sha512: "s"},
	}
	return img, &storev1.Replica{
		ImageId: "i", StoreId: "dcn0", Phase: storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE, Location: "rbd://f/p/i/snap", ContentId: "c",
	}
}

func TestMetadataOfAPublishedCopy(t *testing.T) {
	img, r := described()
	at := img.CreateTime
	want := &agentv1.ImageMetadata{
		Revision: 7, Status: "active", Name: "n", Owner: "p1", Visibility: "community", Hidden: true, Protected: true, DiskFormat: "raw",
		ContainerFormat: "bare", MinDiskGb: 2, MinRamMb: 3, Tags: []string{"t"}, Properties: map[string]string{"k": "v"},
		CreateTime: at, UpdateTime: at, SizeBytes: 4, VirtualSizeBytes: 5, Checksum: "m", OsHashAlgo: "sha512", OsHashValue: "s",
		Members:  []*agentv1.ImageMember{{ProjectId: "p2", Status: "rejected", CreateTime: at, UpdateTime: at}},
		Location: "rbd://f/p/i/snap",
	}
	if got := Metadata(img, 7, r); !proto.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	img.Deactivated, img.Content.Complete = true, false
	if got := Metadata(img, 8, r); got.Status != "deactivated" || got.Location == "" || got.Checksum != "" || got.OsHashAlgo != "" {
		t.Errorf("deactivated, hashes not final: %v", got)
	}
}

func TestMetadataOfOtherCopies(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*storev1.Image, *storev1.Replica)
		status string // empty: no metadata
	}{
		"transferring": {func(_ *storev1.Image, r *storev1.Replica) { r.Phase = storev1.ReplicaPhase_REPLICA_PHASE_TRANSFERRING }, "active"},
		"failed":       {func(_ *storev1.Image, r *storev1.Replica) { r.Phase = storev1.ReplicaPhase_REPLICA_PHASE_FAILED }, "active"},
		"first import": {func(i *storev1.Image, _ *storev1.Replica) { i.Status = storev1.ImageStatus_IMAGE_STATUS_IMPORTING }, "importing"},
		"uploading":    {func(i *storev1.Image, _ *storev1.Replica) { i.Status = storev1.ImageStatus_IMAGE_STATUS_UPLOADING }, "uploading"},
		"queued":       {func(i *storev1.Image, _ *storev1.Replica) { i.Status = storev1.ImageStatus_IMAGE_STATUS_QUEUED }, "queued"},
		"being asked":  {func(_ *storev1.Image, r *storev1.Replica) { r.Removal = storev1.Removal_REMOVAL_CHECKING }, ""},
		"deleting":     {func(_ *storev1.Image, r *storev1.Replica) { r.Phase = storev1.ReplicaPhase_REPLICA_PHASE_DELETING }, ""},
		"image going":  {func(i *storev1.Image, _ *storev1.Replica) { i.Status = storev1.ImageStatus_IMAGE_STATUS_DELETING }, ""},
		"image gone":   {func(i *storev1.Image, _ *storev1.Replica) { i.Status = storev1.ImageStatus_IMAGE_STATUS_DELETED }, ""},
	} {
		img, r := described()
		c.change(img, r)
		got := Metadata(img, 1, r)
		if got.GetStatus() != c.status || got.GetLocation() != "" || (got == nil) != (c.status == "") {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := Metadata(nil, 0, &storev1.Replica{}); got != nil {
		t.Errorf("without an image: %v", got)
	}
	img, r := described()
	for v, want := range map[storev1.Visibility]string{0: "shared", 1: "private", 2: "shared", 3: "community", 4: "public"} {
		img.Visibility = v
		if got := Metadata(img, 1, r).Visibility; got != want {
			t.Errorf("visibility %v: %q", v, got)
		}
	}
	for s, want := range map[storev1.MemberStatus]string{0: "pending", 1: "pending", 2: "accepted", 3: "rejected"} {
		img.Members[0].Status = s
		if got := Metadata(img, 1, r).Members[0].Status; got != want {
			t.Errorf("member status %v: %q", s, got)
		}
	}
}
