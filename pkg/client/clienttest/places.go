package clienttest

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

type stores struct {
	hubv1.UnimplementedStoreServiceServer
	h *Hub
}

// GetStore implements the service.
func (s stores) GetStore(_ context.Context, req *hubv1.GetStoreRequest) (*hubv1.GetStoreResponse, error) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	st, ok := s.h.Stores[req.GetId()]
	if !ok {
		return nil, fault.New(fault.NotFound, "STORE_NOT_FOUND", "there is no store %q", req.GetId())
	}
	return &hubv1.GetStoreResponse{Store: proto.CloneOf(st)}, nil
}

// ListStores implements the service.
func (s stores) ListStores(_ context.Context, req *hubv1.ListStoresRequest) (*hubv1.ListStoresResponse, error) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	items, next, err := page(s.h.Stores, func(*hubv1.Store) bool { return true }, req.GetPageToken())
	return &hubv1.ListStoresResponse{Stores: items, NextPageToken: next}, err
}

type sites struct {
	hubv1.UnimplementedSiteServiceServer
	h *Hub
}

// CreateSite implements the service.
func (s sites) CreateSite(_ context.Context, req *hubv1.CreateSiteRequest) (*hubv1.CreateSiteResponse, error) {
	if _, err := image.ParseSiteID("site.id", req.GetSite().GetId()); err != nil {
		return nil, err
	}
	site := proto.CloneOf(req.GetSite())
	site.CreateTime = timestamppb.New(Now())
	var err error
	s.h.Change(func() {
		if s.h.Sites[site.GetId()] != nil {
			err = fault.New(fault.Exists, "SITE_EXISTS", "site %s exists", site.GetId())
			return
		}
		s.h.Sites[site.GetId()] = site
	})
	if err != nil {
		return nil, err
	}
	return &hubv1.CreateSiteResponse{
		Site: proto.CloneOf(site), JoinToken: "atoll1.token", JoinTokenExpireTime: timestamppb.New(Now().Add(time.Hour)),
	}, nil
}

// GetSite implements the service.
func (s sites) GetSite(_ context.Context, req *hubv1.GetSiteRequest) (*hubv1.GetSiteResponse, error) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	site, err := s.h.site(req.GetId())
	return &hubv1.GetSiteResponse{Site: proto.CloneOf(site)}, err
}

// site returns a site. The caller holds mu.
func (h *Hub) site(id string) (*hubv1.Site, error) {
	site, ok := h.Sites[id]
	if !ok {
		return nil, fault.New(fault.NotFound, "SITE_NOT_FOUND", "there is no site %q", id)
	}
	return site, nil
}

// ListSites implements the service.
func (s sites) ListSites(_ context.Context, req *hubv1.ListSitesRequest) (*hubv1.ListSitesResponse, error) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	items, next, err := page(s.h.Sites, func(*hubv1.Site) bool { return true }, req.GetPageToken())
	return &hubv1.ListSitesResponse{Sites: items, NextPageToken: next}, err
}

// UpdateSite implements the service.
func (s sites) UpdateSite(_ context.Context, req *hubv1.UpdateSiteRequest) (res *hubv1.UpdateSiteResponse, err error) {
	s.h.Change(func() {
		var site *hubv1.Site
		if site, err = s.h.site(req.GetSite().GetId()); err == nil {
			site.Description = req.GetSite().GetDescription()
			res = &hubv1.UpdateSiteResponse{Site: proto.CloneOf(site)}
		}
	})
	return res, err
}

// SetSiteLimits implements the service. It ignores the update mask: the whole of the limits is replaced.
func (s sites) SetSiteLimits(_ context.Context, req *hubv1.SetSiteLimitsRequest) (res *hubv1.SetSiteLimitsResponse, err error) {
	s.h.Change(func() {
		var site *hubv1.Site
		if site, err = s.h.site(req.GetId()); err == nil {
			site.Limits, site.LimitBytesPerSecond = proto.CloneOf(req.GetLimits()), req.GetLimits().BytesPerSecond
			res = &hubv1.SetSiteLimitsResponse{Site: proto.CloneOf(site)}
		}
	})
	return res, err
}

// PauseSite implements the service.
func (s sites) PauseSite(_ context.Context, req *hubv1.PauseSiteRequest) (*hubv1.PauseSiteResponse, error) {
	site, err := s.pause(req.GetId(), timestamppb.New(Now()))
	return &hubv1.PauseSiteResponse{Site: site}, err
}

// ResumeSite implements the service.
func (s sites) ResumeSite(_ context.Context, req *hubv1.ResumeSiteRequest) (*hubv1.ResumeSiteResponse, error) {
	site, err := s.pause(req.GetId(), nil)
	return &hubv1.ResumeSiteResponse{Site: site}, err
}

func (s sites) pause(id string, at *timestamppb.Timestamp) (copied *hubv1.Site, err error) {
	s.h.Change(func() {
		var site *hubv1.Site
		if site, err = s.h.site(id); err == nil {
			site.PauseTime = at
			copied = proto.CloneOf(site)
		}
	})
	return copied, err
}

// DeleteSite implements the service.
func (s sites) DeleteSite(_ context.Context, req *hubv1.DeleteSiteRequest) (*hubv1.DeleteSiteResponse, error) {
	res := &hubv1.DeleteSiteResponse{}
	var err error
	s.h.Change(func() {
		if _, err = s.h.site(req.GetId()); err != nil {
			return
		}
		if req.GetForce() {
			res.DroppedCopies = 3
		}
		delete(s.h.Sites, req.GetId())
	})
	return res, err
}

// CreateJoinToken implements the service.
func (s sites) CreateJoinToken(context.Context, *hubv1.CreateJoinTokenRequest) (*hubv1.CreateJoinTokenResponse, error) {
	return &hubv1.CreateJoinTokenResponse{
		JoinToken: "atoll1.another", JoinTokenExpireTime: timestamppb.New(Now().Add(time.Hour)),
	}, nil
}

// RevokeCertificates implements the service.
func (s sites) RevokeCertificates(context.Context, *hubv1.RevokeCertificatesRequest) (*hubv1.RevokeCertificatesResponse, error) {
	return &hubv1.RevokeCertificatesResponse{Revoked: 2}, nil
}
