package api

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/schedule"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

func (s *sites) SetSiteLimits(ctx context.Context, req *hubv1.SetSiteLimitsRequest) (*hubv1.SetSiteLimitsResponse, error) {
	if err := s.allow(ctx); err != nil {
		return nil, err
	}
	id, err := image.ParseSiteID("id", req.GetId())
	if err != nil {
		return nil, err
	}
	paths := req.GetUpdateMask().GetPaths()
	all := len(paths) == 0
	parts := catalog.LimitParts{Rate: all, Windows: all, Parallel: all}
	for _, p := range paths {
		switch p {
		case "bytes_per_second":
			parts.Rate = true
		case "windows":
			parts.Windows = true
		case "parallel_transfers":
			parts.Parallel = true
		default:
			return nil, fault.BadField("update_mask", "%q cannot be updated; use bytes_per_second, windows or parallel_transfers", p)
		}
	}
	limits := &storev1.SiteLimits{Windows: req.GetLimits().GetWindows()}
	if req.GetLimits() != nil {
		limits.BytesPerSecond, limits.ParallelTransfers = req.Limits.BytesPerSecond, req.Limits.ParallelTransfers
	}
	if err := s.Catalog.LimitSite(ctx, id, limits, parts); err != nil {
		return nil, err
	}
	m, err := s.site(id)
	return &hubv1.SetSiteLimitsResponse{Site: m}, err
}

func (s *sites) PauseSite(ctx context.Context, req *hubv1.PauseSiteRequest) (*hubv1.PauseSiteResponse, error) {
	m, err := s.pause(ctx, req.GetId(), true)
	return &hubv1.PauseSiteResponse{Site: m}, err
}

func (s *sites) ResumeSite(ctx context.Context, req *hubv1.ResumeSiteRequest) (*hubv1.ResumeSiteResponse, error) {
	m, err := s.pause(ctx, req.GetId(), false)
	return &hubv1.ResumeSiteResponse{Site: m}, err
}

func (s *sites) pause(ctx context.Context, name string, paused bool) (*hubv1.Site, error) {
	if err := s.allow(ctx); err != nil {
		return nil, err
	}
	id, err := image.ParseSiteID("id", name)
	if err != nil {
		return nil, err
	}
	if err := s.Catalog.PauseSite(ctx, id, paused); err != nil {
		return nil, err
	}
	return s.site(id)
}

// addLimits adds how fast data may move and does.
func (v *view) addLimits(m *hubv1.Site, r *storev1.Site) {
	m.PauseTime = r.PauseTime
	if r.Limits != nil {
		m.Limits = &hubv1.SiteLimits{BytesPerSecond: r.Limits.BytesPerSecond, Windows: r.Limits.Windows, ParallelTransfers: r.Limits.ParallelTransfers}
	}
	status := v.Bandwidth.Status(image.SiteID(r.Id))
	m.BytesPerSecond = status.Rate
	if status.Limit != schedule.Unlimited {
		limit := int64(status.Limit)
		m.LimitBytesPerSecond = &limit
	}
	if !status.Next.IsZero() {
		m.LimitChangeTime = timestamppb.New(status.Next)
	}
}
