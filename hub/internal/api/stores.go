package api

import (
	"context"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// stores implements atoll.hub.v1.StoreService.
type stores struct {
	hubv1.UnimplementedStoreServiceServer
	*view
}

func (s *stores) GetStore(ctx context.Context, req *hubv1.GetStoreRequest) (*hubv1.GetStoreResponse, error) {
	id, err := image.ParseStoreID("id", req.GetId())
	if err != nil {
		return nil, err
	}
	r, _ := s.read().Store(id)
	if r == nil {
		return nil, fault.New(fault.NotFound, "STORE_NOT_FOUND", "no store %s", id)
	}
	return &hubv1.GetStoreResponse{Store: s.storeMessage(auth.From(ctx), r)}, nil
}

func (s *stores) ListStores(ctx context.Context, req *hubv1.ListStoresRequest) (*hubv1.ListStoresResponse, error) {
	key := func(r *storev1.Store) string { return r.Id }
	found, next, err := page(s.read().Stores(), key, false, nil, "stores", req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	out := &hubv1.ListStoresResponse{NextPageToken: next}
	for _, r := range found {
		out.Stores = append(out.Stores, s.storeMessage(auth.From(ctx), r))
	}
	return out, nil
}

// storeMessage converts a record and adds the site's latest report. Everybody may know the names that requests use and
// whether a store works; what it is made of is for those who manage sites or see the details of stores.
func (v *view) storeMessage(c *auth.Caller, r *storev1.Store) *hubv1.Store {
	live := v.Directory.Store(image.SiteID(r.SiteId), image.StoreID(r.Id))
	m := &hubv1.Store{
		Id: r.Id, SiteId: r.SiteId, Central: r.Id == string(v.Catalog.Central()), Healthy: live.Online && live.Status.GetHealthy(),
	}
	if v.Policy.Allowed(c, "stores_info_detail", nil) || v.Policy.Allowed(c, ruleSites, nil) {
		m.Driver, m.Fsid, m.Pool, m.Message = r.Driver, r.Fsid, r.Pool, live.Status.GetMessage()
		m.TotalBytes, m.FreeBytes = live.Status.GetTotalBytes(), live.Status.GetFreeBytes()
	}
	if !live.Online {
		m.Message = "site " + r.SiteId + " is not connected"
	}
	return m
}
