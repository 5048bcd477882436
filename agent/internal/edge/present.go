package edge

import (
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// present makes what the site shows of an image: the hub's newest metadata, and the site's own stores.
func (c *Catalogue) present(id image.ID, e *entry) *imageapi.Image {
	img := &imageapi.Image{ID: id}
	var newest *agentv1.ImageMetadata
	for _, store := range sortedStores(e) {
		d := e.goals[store]
		if newest == nil || d.Metadata.Revision > newest.Revision {
			newest = d.Metadata
			img.ContentID = image.ID(d.GetContent().GetContentId())
		}
		c.addCopy(img, d)
	}
	describe(img, newest)
	img.Copying = len(img.ImportingTo)+len(img.Failed) > 0
	return img
}

// addCopy adds one store.
func (c *Catalogue) addCopy(img *imageapi.Image, d *agentv1.DesiredReplica) {
	url := d.Metadata.Location
	if url == "" {
		url = c.ownLocation(img.ID, d)
	}
	if url != "" {
		img.Stores = append(img.Stores, d.StoreId)
		img.Locations = append(img.Locations, imageapi.Location{URL: url, Store: d.StoreId, Site: c.site})
		return
	}
	if state, _ := c.copies.State(img.ID, image.StoreID(d.StoreId)); state == agentv1.ReplicaState_REPLICA_STATE_FAILED {
		img.Failed = append(img.Failed, d.StoreId)
		return
	}
	img.ImportingTo = append(img.ImportingTo, d.StoreId)
}

// ownLocation returns the location of a copy that the site has verified and published for the goal it has; empty when it has
// not. The hub records the same location as soon as it hears of it.
func (c *Catalogue) ownLocation(id image.ID, d *agentv1.DesiredReplica) string {
	if d.Goal != agentv1.Goal_GOAL_PRESENT {
		return ""
	}
	state, content := c.copies.State(id, image.StoreID(d.StoreId))
	if state != agentv1.ReplicaState_REPLICA_STATE_PRESENT || string(content) != d.GetContent().GetContentId() {
		return ""
	}
	for _, s := range c.copies.Stores() {
		if s.StoreId == d.StoreId && s.Fsid != "" {
			return image.Location{Driver: s.Driver, FSID: s.Fsid, Pool: s.Pool, Image: id}.URL()
		}
	}
	return ""
}

// describe fills in what does not depend on copies.
func describe(img *imageapi.Image, m *agentv1.ImageMetadata) {
	img.Revision, img.Name, img.Status = m.Revision, m.Name, imageapi.ImageStatus(m.Status)
	img.Visibility, img.Owner = imageapi.Visibility(m.Visibility), m.Owner
	img.Protected, img.Hidden = m.Protected, m.Hidden
	img.DiskFormat, img.ContainerFormat = m.DiskFormat, m.ContainerFormat
	img.MinDisk, img.MinRAM = m.MinDiskGb, m.MinRamMb
	img.Size, img.VirtualSize = m.SizeBytes, m.VirtualSizeBytes
	img.Checksum, img.HashAlgo, img.HashValue = m.Checksum, m.OsHashAlgo, m.OsHashValue
	img.Tags, img.Properties = m.Tags, m.Properties
	img.CreatedAt, img.UpdatedAt = m.CreateTime.AsTime(), m.UpdateTime.AsTime()
	for _, p := range m.Members {
		img.Members = append(img.Members, imageapi.Member{
			ProjectID: p.ProjectId, Status: p.Status, CreatedAt: p.CreateTime.AsTime(), UpdatedAt: updated(p).AsTime(),
		})
	}
}

// updated returns when a membership last changed.
func updated(p *agentv1.ImageMember) *timestamppb.Timestamp {
	if p.UpdateTime == nil {
		return p.CreateTime
	}
	return p.UpdateTime
}
