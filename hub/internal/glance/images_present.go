package glance

import (
	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// present returns a record as the Image API shows it. It shares the record's slices and maps, which never change.
func present(c *catalog.Catalog, r *storev1.Image, revision int64) *imageapi.Image {
	p := c.Publish(r)
	img := &imageapi.Image{
		ID: image.ID(r.Id), Revision: revision, Name: r.Name, Status: status(r, p), Visibility: imageapi.Visibility(catalog.VisibilityWord(r.Visibility)),
		Owner: r.Owner, Protected: r.Protected, Hidden: r.Hidden, DiskFormat: r.DiskFormat, ContainerFormat: r.ContainerFormat,
		MinDisk: r.MinDiskGb, MinRAM: r.MinRamMb, Tags: r.Tags, Members: members(r.Members), Properties: catalog.Properties(r),
		CreatedAt: r.CreateTime.AsTime(), UpdatedAt: r.UpdateTime.AsTime(),
		Stores: p.Stores, Failed: p.Failed, ContentID: image.ID(r.Content.GetId()),
	}
	if !p.Direct { // whoever waits for an upload is told by its answer
		img.ImportingTo, img.ImportTask = p.Importing, p.Task
	}
	img.Copying = len(img.ImportingTo) > 0 || len(p.Failed) > 0 || len(p.Stores) > 1 || img.ImportTask != ""
	// Of a copy that is being taken over the digests follow when the image is active already.
	if content := r.Content; content.GetComplete() || r.Status == storev1.ImageStatus_IMAGE_STATUS_ACTIVE && content != nil {
		img.Size, img.VirtualSize, img.Checksum = content.SizeBytes, content.VirtualSizeBytes, content.Md5
		if content.Sha512 != "" {
			img.HashAlgo, img.HashValue = "sha512", content.Sha512
		}
	}
	for _, l := range p.Locations {
		img.Locations = append(img.Locations, imageapi.Location{URL: l.URL, Store: string(l.Store), Site: l.Site})
	}
	return img
}

// status returns the status of a record in the words of the Image API.
func status(r *storev1.Image, p catalog.Published) imageapi.ImageStatus {
	switch r.Status {
	case storev1.ImageStatus_IMAGE_STATUS_UPLOADING:
		return imageapi.Uploading
	case storev1.ImageStatus_IMAGE_STATUS_IMPORTING:
		if p.Direct {
			return imageapi.Saving
		}
		return imageapi.Importing
	case storev1.ImageStatus_IMAGE_STATUS_ACTIVE:
		if r.Deactivated {
			return imageapi.Deactivated
		}
		return imageapi.Active
	case storev1.ImageStatus_IMAGE_STATUS_DELETING:
		return imageapi.PendingDelete
	default:
		return imageapi.Queued
	}
}

// visibilities pairs the names of the Image API with what is stored.
var visibilities = map[imageapi.Visibility]storev1.Visibility{
	imageapi.Private:   storev1.Visibility_VISIBILITY_PRIVATE,
	imageapi.Shared:    storev1.Visibility_VISIBILITY_SHARED,
	imageapi.Community: storev1.Visibility_VISIBILITY_COMMUNITY,
	imageapi.Public:    storev1.Visibility_VISIBILITY_PUBLIC,
}

// memberStatuses pairs the names of the Image API with what is stored.
var memberStatuses = map[string]storev1.MemberStatus{
	"pending":  storev1.MemberStatus_MEMBER_STATUS_PENDING,
	"accepted": storev1.MemberStatus_MEMBER_STATUS_ACCEPTED,
	"rejected": storev1.MemberStatus_MEMBER_STATUS_REJECTED,
}

func members(records []*storev1.Member) []imageapi.Member {
	if len(records) == 0 {
		return nil
	}
	out := make([]imageapi.Member, len(records))
	for i, m := range records {
		out[i] = member(m)
	}
	return out
}

func member(m *storev1.Member) imageapi.Member {
	return imageapi.Member{
		ProjectID: m.ProjectId, Status: catalog.MemberWord(m.Status), CreatedAt: m.CreateTime.AsTime(), UpdatedAt: m.UpdateTime.AsTime(),
	}
}
