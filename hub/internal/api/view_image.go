package api

import (
	"fmt"
	"strconv"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// image returns an image as users see it, or NotFound.
func (v *view) image(field, s string) (*hubv1.Image, error) {
	id, err := image.ParseID(field, s)
	if err != nil {
		return nil, err
	}
	img, rev := v.read().Image(id)
	if !visible(img) {
		return nil, fault.New(fault.NotFound, "IMAGE_NOT_FOUND", "no image %s", id)
	}
	return v.imageMessage(img, rev), nil
}

func visible(img *storev1.Image) bool {
	return img != nil && img.Status != storev1.ImageStatus_IMAGE_STATUS_DELETED
}

// imageMessage converts a record. What is published follows from the replicas.
func (v *view) imageMessage(img *storev1.Image, rev int64) *hubv1.Image {
	m := &hubv1.Image{
		Id: img.Id, Name: img.Name, Etag: strconv.FormatInt(rev, 36),
		Status:     hubv1.ImageStatus(img.Status), // the values are the same, see TestEnumsAgree
		CreateTime: img.CreateTime, UpdateTime: img.UpdateTime,
		SizeBytes: img.Content.GetSizeBytes(), DiskFormat: img.DiskFormat, ContainerFormat: img.ContainerFormat,
		Properties: img.Properties, Protected: img.Protected, ContentId: img.Content.GetId(),
	}
	if img.Content.GetComplete() {
		m.Checksum, m.OsHashAlgo, m.OsHashValue = img.Content.Md5, "sha512", img.Content.Sha512
		m.ManifestDigest = fmt.Sprintf("%x", img.Content.ManifestDigest)
	}
	v.addPublished(m, img)
	return m
}

// addPublished fills in stores, locations and the progress lists.
func (v *view) addPublished(m *hubv1.Image, img *storev1.Image) {
	p := v.Catalog.Publish(img)
	m.Stores, m.ImportingToStores, m.FailedImport = p.Stores, p.Importing, p.Failed
	for _, l := range p.Locations {
		m.Locations = append(m.Locations, &hubv1.Location{Url: l.URL, Store: string(l.Store)})
	}
}
