package reconcile

import (
	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Metadata returns what the site of a replica tells readers about the image; nil when the copy or the image is on its way
// out, so that the site stops answering for it. revision is that of the image's record. The location is there only while
// the copy is published. The message shares tags and properties with the record.
func Metadata(img *storev1.Image, revision int64, r *storev1.Replica) *agentv1.ImageMetadata {
	if r.GetRemoval() != storev1.Removal_REMOVAL_UNSPECIFIED || r.GetPhase() == storev1.ReplicaPhase_REPLICA_PHASE_DELETING {
		return nil
	}
	status := word(img)
	if status == "" {
		return nil
	}
	m := &agentv1.ImageMetadata{
		Revision: revision, Status: status, Name: img.Name, Owner: img.Owner, Visibility: catalog.VisibilityWord(img.Visibility),
		Hidden: img.Hidden, Protected: img.Protected, DiskFormat: img.DiskFormat, ContainerFormat: img.ContainerFormat,
		MinDiskGb: img.MinDiskGb, MinRamMb: img.MinRamMb, Tags: img.Tags, Properties: catalog.Properties(img),
		CreateTime: img.CreateTime, UpdateTime: img.UpdateTime,
		SizeBytes: img.Content.GetSizeBytes(), VirtualSizeBytes: img.Content.GetVirtualSizeBytes(),
	}
	if c := img.Content; c.GetComplete() {
		m.Checksum = c.Md5
		if c.Sha512 != "" {
			m.OsHashAlgo, m.OsHashValue = "sha512", c.Sha512
		}
	}
	for _, p := range img.Members {
		m.Members = append(m.Members, &agentv1.ImageMember{
			ProjectId: p.ProjectId, Status: catalog.MemberWord(p.Status), CreateTime: p.CreateTime, UpdateTime: p.UpdateTime,
		})
	}
	if r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE && img.Status == storev1.ImageStatus_IMAGE_STATUS_ACTIVE {
		m.Location = r.Location
	}
	return m
}

// word returns the status of an image in the words of the Image API; empty for one that is going or gone.
func word(img *storev1.Image) string {
	switch img.GetStatus() {
	case storev1.ImageStatus_IMAGE_STATUS_QUEUED:
		return "queued"
	case storev1.ImageStatus_IMAGE_STATUS_UPLOADING:
		return "uploading"
	case storev1.ImageStatus_IMAGE_STATUS_IMPORTING:
		return "importing"
	case storev1.ImageStatus_IMAGE_STATUS_ACTIVE:
		if img.Deactivated {
			return "deactivated"
		}
		return "active"
	default:
		return ""
	}
}
