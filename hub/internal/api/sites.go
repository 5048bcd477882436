package api

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// sites implements atoll.hub.v1.SiteService.
type sites struct {
	hubv1.UnimplementedSiteServiceServer
	*view
}

// allow returns Denied unless the caller manages sites.
func (s *sites) allow(ctx context.Context) error { return s.require(auth.From(ctx), ruleSites, nil) }

func (s *sites) CreateSite(ctx context.Context, req *hubv1.CreateSiteRequest) (*hubv1.CreateSiteResponse, error) {
	if err := s.allow(ctx); err != nil {
		return nil, err
	}
	id, err := image.ParseSiteID("site.id", req.GetSite().GetId())
	if err != nil {
		return nil, err
	}
	if _, err := s.Catalog.CreateSite(ctx, id, req.GetSite().GetDescription()); err != nil {
		return nil, err
	}
	token, expires, err := s.Identity.CreateToken(ctx, id)
	if err != nil {
		return nil, err
	}
	m, err := s.site(id)
	return &hubv1.CreateSiteResponse{Site: m, JoinToken: token, JoinTokenExpireTime: timestamppb.New(expires)}, err
}

func (s *sites) GetSite(ctx context.Context, req *hubv1.GetSiteRequest) (*hubv1.GetSiteResponse, error) {
	if err := s.allow(ctx); err != nil {
		return nil, err
	}
	id, err := image.ParseSiteID("id", req.GetId())
	if err != nil {
		return nil, err
	}
	m, err := s.site(id)
	return &hubv1.GetSiteResponse{Site: m}, err
}

func (s *sites) ListSites(ctx context.Context, req *hubv1.ListSitesRequest) (*hubv1.ListSitesResponse, error) {
	if err := s.allow(ctx); err != nil {
		return nil, err
	}
	key := func(r *storev1.Site) string { return r.Id }
	found, next, err := page(s.read().Sites(), key, false, nil, "sites", req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	out := &hubv1.ListSitesResponse{NextPageToken: next}
	for _, r := range found {
		out.Sites = append(out.Sites, s.siteMessage(r))
	}
	return out, nil
}

func (s *sites) UpdateSite(ctx context.Context, req *hubv1.UpdateSiteRequest) (*hubv1.UpdateSiteResponse, error) {
	if err := s.allow(ctx); err != nil {
		return nil, err
	}
	id, err := image.ParseSiteID("site.id", req.GetSite().GetId())
	if err != nil {
		return nil, err
	}
	for _, p := range req.GetUpdateMask().GetPaths() {
		if p != "description" {
			return nil, fault.BadField("update_mask", "%q cannot be updated; use description", p)
		}
	}
	if err := s.Catalog.DescribeSite(ctx, id, req.GetSite().GetDescription()); err != nil {
		return nil, err
	}
	m, err := s.site(id)
	return &hubv1.UpdateSiteResponse{Site: m}, err
}

func (s *sites) DeleteSite(ctx context.Context, req *hubv1.DeleteSiteRequest) (*hubv1.DeleteSiteResponse, error) {
	if err := s.allow(ctx); err != nil {
		return nil, err
	}
	id, err := image.ParseSiteID("id", req.GetId())
	if err != nil {
		return nil, err
	}
	switch {
	case !req.GetForce() && req.GetForceLastCopies():
		return nil, fault.BadField("force_last_copies", "needs force")
	case !req.GetForce():
		return &hubv1.DeleteSiteResponse{}, s.Catalog.DeleteSite(ctx, id)
	case s.Directory.Site(id).Connected:
		return nil, fault.New(fault.Precondition, "SITE_CONNECTED",
			"site %s is connected, so it is not lost: delete its copies, or stop its agent for good first", id)
	}
	n, err := s.Catalog.ForceDeleteSite(ctx, id, req.GetForceLastCopies())
	if err != nil {
		return nil, err
	}
	// The agent may have connected at the last moment.
	s.EndSession(id, fault.New(fault.Denied, "SITE_DELETED", "site %s has been deleted", id))
	return &hubv1.DeleteSiteResponse{DroppedCopies: int32(n)}, nil
}

func (s *sites) CreateJoinToken(ctx context.Context, req *hubv1.CreateJoinTokenRequest) (*hubv1.CreateJoinTokenResponse, error) {
	if err := s.allow(ctx); err != nil {
		return nil, err
	}
	id, err := image.ParseSiteID("site_id", req.GetSiteId())
	if err != nil {
		return nil, err
	}
	token, expires, err := s.Identity.CreateToken(ctx, id)
	if err != nil {
		return nil, err
	}
	return &hubv1.CreateJoinTokenResponse{JoinToken: token, JoinTokenExpireTime: timestamppb.New(expires)}, nil
}

func (s *sites) RevokeCertificates(ctx context.Context, req *hubv1.RevokeCertificatesRequest) (*hubv1.RevokeCertificatesResponse, error) {
	if err := s.allow(ctx); err != nil {
		return nil, err
	}
	id, err := image.ParseSiteID("site_id", req.GetSiteId())
	if err != nil {
		return nil, err
	}
	n, err := s.Identity.Revoke(ctx, id)
	if err != nil {
		return nil, err
	}
	s.EndSession(id, fault.New(fault.Denied, "CERT_REVOKED", "the certificates of site %s have been revoked", id))
	return &hubv1.RevokeCertificatesResponse{Revoked: int32(n)}, nil
}

func (v *view) site(id image.SiteID) (*hubv1.Site, error) {
	r, _ := v.read().Site(id)
	if r == nil {
		return nil, fault.New(fault.NotFound, "SITE_NOT_FOUND", "no site %s", id)
	}
	return v.siteMessage(r), nil
}

// siteMessage converts a record and adds what is known of the connection.
func (v *view) siteMessage(r *storev1.Site) *hubv1.Site {
	id := image.SiteID(r.Id)
	live := v.Directory.Site(id)
	m := &hubv1.Site{
		Id: r.Id, Description: r.Description, CreateTime: r.CreateTime, Connected: live.Connected,
		ConnectionTime: r.LastSeenTime, AgentVersion: r.AgentVersion, AgentAddress: live.Address,
	}
	if live.Connected {
		m.ConnectionTime = timestamppb.New(live.Since)
	}
	for _, s := range v.read().Stores() {
		if s.SiteId == r.Id {
			m.Stores = append(m.Stores, s.Id)
		}
	}
	for _, c := range r.Certificates {
		if !c.Revoked && c.ExpireTime.AsTime().After(m.CertificateExpireTime.AsTime()) {
			m.CertificateExpireTime = c.ExpireTime
		}
	}
	v.addLimits(m, r)
	if reason, at := v.Identity.LastRefusal(id); reason != "" {
		m.LastRefusal, m.LastRefusalTime = reason, timestamppb.New(at)
	}
	return m
}
