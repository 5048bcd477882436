package catalog

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// DeleteSite removes a site and its stores. Refused with SITE_IN_USE while a store of it holds or shall hold a copy. A
// replica that is created at the same moment is dropped by the planner, because its store is not registered any more.
func (c *Catalog) DeleteSite(ctx context.Context, id image.SiteID) error {
	return c.repeat(ctx, func() error {
		site, rev := c.records.Site(id)
		if site == nil {
			return errNoSite(id)
		}
		for _, s := range c.storesOf(id) {
			if n := len(c.records.StoreReplicas(s)); n > 0 {
				return fault.New(fault.Precondition, "SITE_IN_USE",
					"store %s of site %s still holds %d copies; delete them first, or use force if the site is lost for ever", s, id, n)
			}
		}
		return c.dropSite(ctx, Write{Key: SiteKey(id), Revision: rev}, c.storesOf(id))
	})
}

// dropSite removes stores and, with the last of them, their site.
func (c *Catalog) dropSite(ctx context.Context, site Write, stores []image.StoreID) error {
	var writes []Write
	for _, s := range stores {
		_, rev := c.records.Store(s)
		writes = append(writes, Write{Key: StoreKey(s), Revision: rev})
	}
	for batch := range slices.Chunk(append(writes, site), MaxWrites) {
		if err := c.records.Commit(ctx, batch...); err != nil {
			return err
		}
	}
	return nil
}

// orForget returns err. When it says that the site is gone, stores that its agent has registered at the moment of the
// delete are removed too.
func (c *Catalog) orForget(ctx context.Context, id image.SiteID, err error) error {
	if !fault.Is(err, fault.NotFound) {
		return err
	}
	ferr := c.repeat(ctx, func() error {
		site, _ := c.records.Site(id)
		stores := c.storesOf(id)
		if site != nil || len(stores) == 0 {
			return nil
		}
		return c.dropSite(ctx, Write{Key: SiteKey(id)}, stores) // the site must still not be there
	})
	if ferr != nil {
		return ferr
	}
	return err
}

// storesOf returns the stores of a site, sorted.
func (c *Catalog) storesOf(id image.SiteID) []image.StoreID {
	var ids []image.StoreID
	for _, s := range c.records.Stores() {
		if s.SiteId == string(id) {
			ids = append(ids, image.StoreID(s.Id))
		}
	}
	return ids
}

func errNoSite(id image.SiteID) error {
	return fault.New(fault.NotFound, "SITE_NOT_FOUND", "no site %s", id)
}

// ForceDeleteSite removes a site that is lost for ever: its certificates first, so that its agent stays away, then the
// records of all copies and tombstones in its stores, then the stores and the site. The site is not asked anything; the
// caller has made sure that it is not connected. Running imports, copies and adoptions there fail with STORE_GONE. It
// returns how many copies it has dropped. A call that was interrupted may be repeated.
//
// Refused with LAST_COPY when an active image has its only copy there, unless lastCopies is set: such an image becomes one
// without data again.
func (c *Catalog) ForceDeleteSite(ctx context.Context, id image.SiteID, lastCopies bool) (copies int, err error) {
	if !lastCopies {
		if err := c.checkLastCopies(id); err != nil {
			return 0, err
		}
	}
	if err := c.ChangeSite(ctx, id, retire); err != nil {
		return 0, err
	}
	for range attempts { // new copies may be asked for meanwhile
		for _, s := range c.storesOf(id) {
			n, err := c.dropCopies(ctx, id, s, lastCopies)
			copies += n
			if err != nil {
				return copies, err
			}
		}
		if err = c.DeleteSite(ctx, id); fault.ReasonOf(err) != "SITE_IN_USE" {
			break
		}
	}
	return copies, err
}

// retire takes everything from a site that its agent could connect with.
func retire(s *storev1.Site) error {
	for _, c := range s.Certificates {
		c.Revoked = true
	}
	s.JoinTokenHash, s.JoinTokenExpireTime = nil, nil
	return nil
}

// mostNamed is how many images an error names.
const mostNamed = 10

// checkLastCopies returns a LAST_COPY error that names images which have their only copy at the site.
func (c *Catalog) checkLastCopies(id image.SiteID) error {
	var lost []string
	for _, s := range c.storesOf(id) {
		for _, r := range c.records.StoreReplicas(s) {
			if c.lastCopy(id, r) {
				lost = append(lost, r.ImageId)
			}
		}
	}
	slices.Sort(lost)
	return errLastCopies(id, slices.Compact(lost))
}

func errLastCopies(id image.SiteID, lost []string) error {
	if len(lost) == 0 {
		return nil
	}
	names := strings.Join(lost[:min(mostNamed, len(lost))], ", ")
	if more := len(lost) - mostNamed; more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	return fault.New(fault.Precondition, "LAST_COPY",
		"site %s has the only copy of %d active images: %s; copy them elsewhere, delete them, or force their loss too", id, len(lost), names)
}

// lastCopy reports whether an active image is lost without its copy r at the site. A tombstone is no copy.
func (c *Catalog) lastCopy(site image.SiteID, r *storev1.Replica) bool {
	img, _ := c.records.Image(image.ID(r.ImageId))
	if img.GetStatus() != storev1.ImageStatus_IMAGE_STATUS_ACTIVE || r.Removal == storev1.Removal_REMOVAL_DECIDED {
		return false
	}
	others, _ := c.records.Replicas(image.ID(r.ImageId))
	return !slices.ContainsFunc(others, func(o *storev1.Replica) bool {
		return o.SiteId != string(site) && o.Phase == storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE
	})
}

// dropCopies removes the records of all copies in a store, in batches, and returns how many these were.
func (c *Catalog) dropCopies(ctx context.Context, site image.SiteID, store image.StoreID, lastCopies bool) (copies int, err error) {
	for {
		n, done := 0, false
		err := c.repeat(ctx, func() error {
			var writes []Write
			var err error
			if writes, n, err = c.dropBatch(site, store, lastCopies); err != nil {
				return err
			}
			done = len(writes) == 0
			return c.records.Commit(ctx, writes...)
		})
		if err != nil || done {
			return copies, err
		}
		copies += n
	}
}

// dropBatch returns the writes that drop copies in a store, as many as fit into one commit. One with more operations than
// that loses them first.
func (c *Catalog) dropBatch(site image.SiteID, store image.StoreID, lastCopies bool) (writes []Write, copies int, err error) {
	for _, r := range c.records.StoreReplicas(store) {
		if !lastCopies && c.lastCopy(site, r) {
			return nil, 0, errLastCopies(site, []string{r.ImageId}) // since the whole was checked
		}
		next := c.dropCopy(r)
		if len(writes) == 0 && len(next) > MaxWrites {
			return next[:MaxWrites], 0, nil
		}
		if len(writes)+len(next) > MaxWrites {
			break
		}
		writes = append(writes, next...)
		copies++
	}
	return writes, copies, nil
}

// dropCopy returns the writes that drop one copy: operations, image, replica. The image is written so that nobody else can
// take away another copy at the same moment because this one is left.
func (c *Catalog) dropCopy(r *storev1.Replica) []Write {
	id, store := image.ID(r.ImageId), image.StoreID(r.StoreId)
	_, rev := c.records.Replica(id, store)
	if rev == 0 {
		return nil // gone meanwhile
	}
	var writes []Write
	ops, revs := c.records.ImageOperations(id)
	for i, old := range ops {
		if o := proto.CloneOf(old); LoseStore(o, r.StoreId) {
			writes = append(writes, Write{Key: OperationKey(image.ID(o.Id)), Value: o, Revision: revs[i]})
		}
	}
	if old, irev := c.records.Image(id); old != nil {
		img := proto.CloneOf(old)
		img.UpdateTime = c.stamp()
		img.FailedStores = withoutStores(img.FailedStores, []image.StoreID{store})
		writes = append(writes, Write{Key: ImageKey(id), Value: img, Revision: irev})
	}
	return append(writes, Write{Key: ReplicaKey(id, store), Revision: rev})
}
