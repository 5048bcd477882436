package catalog

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

const maxDescription = 255

// CreateSite registers a site.
func (c *Catalog) CreateSite(ctx context.Context, id image.SiteID, description string) (*storev1.Site, error) {
	if len(description) > maxDescription {
		return nil, fault.BadField("site.description", "must have at most %d bytes", maxDescription)
	}
	site := &storev1.Site{Id: string(id), Description: description, CreateTime: c.stamp()}
	err := c.records.Commit(ctx, Write{Key: SiteKey(id), Value: site})
	if fault.Is(err, fault.Conflict) {
		if old, _ := c.records.Site(id); old != nil {
			return nil, fault.New(fault.Exists, "SITE_EXISTS", "site %s exists already", id)
		}
	}
	return site, err
}

// ChangeSite applies change to a copy of the site's record and writes it back. change may be called several times.
func (c *Catalog) ChangeSite(ctx context.Context, id image.SiteID, change func(*storev1.Site) error) error {
	return c.repeat(ctx, func() error {
		old, rev := c.records.Site(id)
		if old == nil {
			return errNoSite(id)
		}
		site := proto.CloneOf(old)
		if err := change(site); err != nil {
			return err
		}
		return c.records.Commit(ctx, Write{Key: SiteKey(id), Value: site, Revision: rev})
	})
}

// DescribeSite changes a site's description.
func (c *Catalog) DescribeSite(ctx context.Context, id image.SiteID, description string) error {
	if len(description) > maxDescription {
		return fault.BadField("site.description", "must have at most %d bytes", maxDescription)
	}
	return c.ChangeSite(ctx, id, func(s *storev1.Site) error { s.Description = description; return nil })
}

// OpenSession records a new session of a site's agent and returns its epoch, which is above all earlier ones.
func (c *Catalog) OpenSession(ctx context.Context, id image.SiteID, agentVersion string) (epoch uint64, err error) {
	err = c.ChangeSite(ctx, id, func(s *storev1.Site) error {
		s.SessionEpoch++
		s.LastSeenTime = c.stamp()
		s.AgentVersion = agentVersion
		epoch = s.SessionEpoch
		return nil
	})
	return epoch, c.orForget(ctx, id, err)
}

// SawSite records that the site's agent is connected, or was until now.
func (c *Catalog) SawSite(ctx context.Context, id image.SiteID) error {
	return c.orForget(ctx, id, c.ChangeSite(ctx, id, func(s *storev1.Site) error { s.LastSeenTime = c.stamp(); return nil }))
}

// RegisterStore records a store that a site's agent has announced. An id that belongs to another site is refused.
func (c *Catalog) RegisterStore(ctx context.Context, site image.SiteID, st *agentv1.StoreStatus) error {
	id, err := image.ParseStoreID("store id", st.StoreId)
	if err != nil {
		return err
	}
	return c.repeat(ctx, func() error {
		old, rev := c.records.Store(id)
		if old != nil && old.SiteId != string(site) {
			return fault.New(fault.Exists, "STORE_TAKEN", "store id %s belongs to another site", id)
		}
		s := &storev1.Store{Id: string(id), SiteId: string(site), Driver: st.Driver, Fsid: st.Fsid, Pool: st.Pool}
		if s.Fsid == "" { // the cluster has not answered yet: keep what is known
			s.Fsid = old.GetFsid()
		}
		if proto.Equal(s, old) {
			return nil
		}
		return c.records.Commit(ctx, Write{Key: StoreKey(id), Value: s, Revision: rev})
	})
}
