package catalog

import (
	"context"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Limits of image records, those of the Image API.
const (
	maxName          = 255
	maxProperties    = 128
	maxPropertyKey   = 255
	maxPropertyValue = 65535
	maxAllProperties = 256 << 10 // keys and values together, so that a record stays far below etcd's limit
)

// NewImage is what a user says about an image that has no data yet.
type NewImage struct {
	ID              image.ID // empty: chosen here
	Name            string
	DiskFormat      string // empty: raw
	ContainerFormat string // empty: bare
	Properties      map[string]string
	Protected       bool
}

// ImageChange is a change of an image record; nil fields stay as they are.
type ImageChange struct {
	Name       *string
	Protected  *bool
	Properties *map[string]string
}

// CreateImage creates a queued image. An id that has been used before, even by a deleted image that still has tombstones,
// is refused.
func (c *Catalog) CreateImage(ctx context.Context, n NewImage) (*storev1.Image, error) {
	if n.ID == "" {
		n.ID = image.NewID()
	}
	img := &storev1.Image{
		Id: string(n.ID), Name: n.Name, Status: storev1.ImageStatus_IMAGE_STATUS_QUEUED,
		CreateTime: c.stamp(), UpdateTime: c.stamp(),
		DiskFormat: orDefault(n.DiskFormat, "raw"), ContainerFormat: orDefault(n.ContainerFormat, "bare"),
		Properties: n.Properties, Protected: n.Protected,
	}
	if err := checkImage(img); err != nil {
		return nil, err
	}
	err := c.records.Commit(ctx, Write{Key: ImageKey(n.ID), Value: img})
	if fault.Is(err, fault.Conflict) {
		if old, _ := c.records.Image(n.ID); old != nil {
			return nil, fault.New(fault.Exists, "IMAGE_EXISTS", "image id %s is already taken", n.ID)
		}
	}
	return img, err
}

// UpdateImage changes an image. A non-zero revision must be the stored one.
func (c *Catalog) UpdateImage(ctx context.Context, id image.ID, revision int64, change ImageChange) error {
	return repeat(ctx, func() error {
		old, rev, err := c.visibleImage(id)
		if err != nil {
			return err
		}
		if revision != 0 && revision != rev {
			return fault.New(fault.Precondition, "STALE_ETAG", "image %s has changed since it was read", id)
		}
		img := proto.CloneOf(old)
		if change.Name != nil {
			img.Name = *change.Name
		}
		if change.Protected != nil {
			img.Protected = *change.Protected
		}
		if change.Properties != nil {
			img.Properties = *change.Properties
		}
		if err := checkImage(img); err != nil {
			return err
		}
		img.UpdateTime = c.stamp()
		return c.records.Commit(ctx, Write{Key: ImageKey(id), Value: img, Revision: rev})
	})
}

func checkImage(img *storev1.Image) error {
	if len(img.Name) > maxName || !utf8.ValidString(img.Name) {
		return fault.BadField("image.name", "must be valid UTF-8 of at most %d bytes", maxName)
	}
	if img.DiskFormat != "raw" && img.DiskFormat != "iso" {
		return fault.BadField("image.disk_format", "%q cannot be stored; use raw (or iso)", img.DiskFormat)
	}
	if img.ContainerFormat != "bare" {
		return fault.BadField("image.container_format", "%q cannot be stored; use bare", img.ContainerFormat)
	}
	if len(img.Properties) > maxProperties {
		return fault.BadField("image.properties", "%d properties are more than %d", len(img.Properties), maxProperties)
	}
	total := 0
	for k, v := range img.Properties {
		total += len(k) + len(v)
		switch {
		case total > maxAllProperties:
			return fault.BadField("image.properties", "all keys and values together have more than %d bytes", maxAllProperties)
		case k == "" || len(k) > maxPropertyKey || len(v) > maxPropertyValue:
			return fault.BadField("image.properties", "keys have 1 to %d bytes, values at most %d", maxPropertyKey, maxPropertyValue)
		case strings.HasPrefix(k, "os_glance_"):
			return fault.BadField("image.properties", "keys starting with os_glance_ are reserved")
		}
	}
	return nil
}

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}
