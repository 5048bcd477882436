package catalog

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// NewImage is what a user says about an image that has no data yet.
type NewImage struct {
	ID              image.ID // empty: chosen here
	Name            string
	DiskFormat      string // empty: said later, before data comes
	ContainerFormat string // empty: said later, before data comes
	Properties      map[string]string
	Protected       bool
	Owner           string             // project; empty: nobody
	Visibility      storev1.Visibility // unspecified: shared
	Hidden          bool
	Tags            []string
	MinDiskGB       int32
	MinRAMMB        int32
}

// CreateImage creates a queued image. An id that has been used before is refused: by an image that is there, even a deleted
// one that still has tombstones, and by one that is gone as long as an operation of another project remembers it. Whoever
// knows such an id from before means that image, and its history is nobody else's.
func (c *Catalog) CreateImage(ctx context.Context, n NewImage) (*storev1.Image, error) {
	if n.ID == "" {
		n.ID = image.NewID()
	}
	if n.Visibility == storev1.Visibility_VISIBILITY_UNSPECIFIED {
		n.Visibility = storev1.Visibility_VISIBILITY_SHARED
	}
	now := c.stamp()
	img := &storev1.Image{
		Id: string(n.ID), Name: n.Name, Status: storev1.ImageStatus_IMAGE_STATUS_QUEUED,
		CreateTime: now, UpdateTime: now,
		DiskFormat: n.DiskFormat, ContainerFormat: n.ContainerFormat,
		Properties: n.Properties, Protected: n.Protected, Owner: n.Owner, Visibility: n.Visibility, Hidden: n.Hidden,
		Tags: sortedTags(n.Tags), MinDiskGb: n.MinDiskGB, MinRamMb: n.MinRAMMB,
	}
	if err := c.checkImage(img, nil); err != nil {
		return nil, err
	}
	if most := c.limits.ProjectImages; most > 0 && c.ProjectUsage(n.Owner).Images >= most {
		return nil, fault.New(fault.Exhausted, "IMAGE_QUOTA", "the project has reached its limit of %d images", most)
	}
	taken := fault.New(fault.Exists, "IMAGE_EXISTS", "image id %s is already taken", n.ID)
	if c.remembered(n.ID, n.Owner) {
		return nil, taken
	}
	err := c.records.Commit(ctx, Write{Key: ImageKey(n.ID), Value: img})
	if fault.Is(err, fault.Conflict) {
		if old, _ := c.records.Image(n.ID); old != nil {
			return nil, taken
		}
	}
	return img, err
}

// remembered reports whether a project other than owner has asked for something to be done with an image of this id. It
// looks at all operations that are kept.
func (c *Catalog) remembered(id image.ID, owner string) bool {
	return slices.ContainsFunc(c.records.Operations(), func(o *storev1.Operation) bool {
		return o.ImageId == string(id) && o.Requester != nil && o.Requester.ProjectId != owner
	})
}

// EditImage changes what users may change of an image: edit gets a copy of the record and may run several times. Of its
// changes only name, owner, visibility, hidden, protected, tags, min_disk_gb, min_ram_mb, properties and, while it
// is queued, the formats are kept. A non-zero revision must be the stored one (STALE_ETAG). An edit that changes nothing
// writes nothing. An error of edit is returned as it is.
func (c *Catalog) EditImage(ctx context.Context, id image.ID, revision int64, edit func(*storev1.Image) error) error {
	return c.repeat(ctx, func() error {
		old, rev, err := c.visibleImage(id)
		if err != nil {
			return err
		}
		if revision != 0 && revision != rev {
			return fault.New(fault.Precondition, "STALE_ETAG", "image %s has changed since it was read", id)
		}
		edited := proto.CloneOf(old)
		if err := edit(edited); err != nil {
			return err
		}
		img, err := editable(old, edited)
		if err != nil {
			return err
		}
		if err := c.checkImage(img, old); err != nil {
			return err
		}
		if proto.Equal(img, old) {
			return nil
		}
		img.UpdateTime = c.stamp()
		return c.records.Commit(ctx, Write{Key: ImageKey(id), Value: img, Revision: rev})
	})
}

// editable returns old with those of the edits that users may make.
func editable(old, edited *storev1.Image) (*storev1.Image, error) {
	img := proto.CloneOf(old)
	if edited.DiskFormat != old.DiskFormat || edited.ContainerFormat != old.ContainerFormat {
		if old.Status != storev1.ImageStatus_IMAGE_STATUS_QUEUED { // staged data has been looked at for what it is
			return nil, fault.New(fault.Denied, "FORMAT_FIXED", "the formats of image %s cannot change once it has data", old.Id)
		}
		img.DiskFormat, img.ContainerFormat = edited.DiskFormat, edited.ContainerFormat
	}
	img.Name, img.Owner, img.Visibility, img.Hidden, img.Protected = edited.Name, edited.Owner, edited.Visibility, edited.Hidden, edited.Protected
	img.Tags = sortedTags(edited.Tags)
	img.MinDiskGb, img.MinRamMb, img.Properties = edited.MinDiskGb, edited.MinRamMb, edited.Properties
	return img, nil
}

// SetDeactivated forbids or allows again to read the data of an image. Repeating it changes nothing. NOT_ACTIVE (Denied)
// unless the image is active.
func (c *Catalog) SetDeactivated(ctx context.Context, id image.ID, deactivated bool) error {
	return c.repeat(ctx, func() error {
		old, rev, err := c.visibleImage(id)
		switch {
		case err != nil:
			return err
		case old.Status != storev1.ImageStatus_IMAGE_STATUS_ACTIVE:
			return fault.New(fault.Denied, "NOT_ACTIVE", "image %s is not active", id)
		case old.Deactivated == deactivated:
			return nil
		}
		img := proto.CloneOf(old)
		img.Deactivated = deactivated
		img.UpdateTime = c.stamp()
		return c.records.Commit(ctx, Write{Key: ImageKey(id), Value: img, Revision: rev})
	})
}

func sortedTags(tags []string) []string {
	if len(tags) == 0 {
		return nil
	}
	tags = slices.Clone(tags)
	slices.Sort(tags)
	return slices.Compact(tags)
}
