package api

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/policy"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

func visible(img *storev1.Image) bool {
	return img != nil && img.Status != storev1.ImageStatus_IMAGE_STATUS_DELETED
}

// imageMessage converts a record into what a caller who may see the image is shown of it. What is published follows from the
// replicas.
func (v *view) imageMessage(c *auth.Caller, img *storev1.Image, rev int64) *hubv1.Image {
	m := &hubv1.Image{
		Id: img.Id, Name: img.Name, Etag: strconv.FormatInt(rev, 36),
		Status:     hubv1.ImageStatus(img.Status), // the values are the same, see TestEnumsAgree
		CreateTime: img.CreateTime, UpdateTime: img.UpdateTime,
		SizeBytes: img.Content.GetSizeBytes(), DiskFormat: img.DiskFormat, ContainerFormat: img.ContainerFormat,
		Properties: v.readable(c, img.Properties), Protected: img.Protected, ContentId: img.Content.GetId(),
		Owner: img.Owner, Visibility: hubv1.Visibility(img.Visibility), Hidden: img.Hidden, Tags: img.Tags,
		MinDiskGb: img.MinDiskGb, MinRamMb: img.MinRamMb, Deactivated: img.Deactivated, VirtualSizeBytes: img.Content.GetVirtualSizeBytes(),
	}
	if img.Visibility == storev1.Visibility_VISIBILITY_UNSPECIFIED {
		m.Visibility = hubv1.Visibility_VISIBILITY_SHARED
	}
	if img.Content.GetComplete() {
		m.Checksum, m.OsHashValue = img.Content.Md5, img.Content.Sha512
		if m.OsHashValue != "" {
			m.OsHashAlgo = "sha512"
		}
		m.ManifestDigest = fmt.Sprintf("%x", img.Content.ManifestDigest)
	}
	m.Origin, m.Signature = originMessage(img.Origin), signatureMessage(img.Signature)
	v.addPublished(c, m, img)
	return m
}

func originMessage(o *storev1.Origin) *hubv1.Origin {
	if o == nil {
		return nil
	}
	return &hubv1.Origin{DiskFormat: o.DiskFormat, ContainerFormat: o.ContainerFormat, Compression: o.Compression, SizeBytes: o.SizeBytes}
}

func signatureMessage(s *storev1.Signature) *hubv1.Signature {
	if s == nil {
		return nil
	}
	return &hubv1.Signature{
		HashMethod: s.HashMethod, KeyType: s.KeyType, CertificateId: s.CertificateId, CertificateSha256: hex.EncodeToString(s.CertificateSha256),
		Subject: s.Subject, VerifyTime: s.VerifyTime, Trusted: s.Trusted,
	}
}

// readable returns the properties that the caller may read.
func (v *view) readable(c *auth.Caller, all map[string]string) map[string]string {
	if !v.Policy.Protected() {
		return all
	}
	out := make(map[string]string, len(all))
	for name, value := range all {
		if v.Policy.Property(c, name, policy.Read) {
			out[name] = value
		}
	}
	return out
}

// addPublished fills in stores, locations and the progress lists.
func (v *view) addPublished(c *auth.Caller, m *hubv1.Image, img *storev1.Image) {
	p := v.Catalog.Publish(img)
	m.Stores, m.ImportingToStores, m.FailedImport = p.Stores, p.Importing, p.Failed
	if len(p.Locations) == 0 || !v.seesLocations(c, image.ID(img.Id)) {
		return
	}
	away := func(l catalog.PublishedLocation) int {
		if c != nil && c.Site != "" && l.Site == c.Site {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(p.Locations, func(a, b catalog.PublishedLocation) int { return away(a) - away(b) })
	for _, l := range p.Locations {
		m.Locations = append(m.Locations, &hubv1.Location{Url: l.URL, Store: string(l.Store)})
	}
}
