package clienttest

import (
	"context"

	"google.golang.org/protobuf/proto"

	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// limits implements LimitService.
type limits struct {
	hubv1.UnimplementedLimitServiceServer
	h *Hub
}

// GetHubLimits implements the service.
func (s limits) GetHubLimits(context.Context, *hubv1.GetHubLimitsRequest) (res *hubv1.GetHubLimitsResponse, _ error) {
	s.h.Change(func() { res = &hubv1.GetHubLimitsResponse{Limits: proto.CloneOf(s.h.Limits)} })
	return res, nil
}

// UpdateHubLimits implements the service. It ignores the update mask: the whole of the limits is replaced.
func (s limits) UpdateHubLimits(_ context.Context, req *hubv1.UpdateHubLimitsRequest) (res *hubv1.UpdateHubLimitsResponse, _ error) {
	s.h.Change(func() {
		s.h.Limits = &hubv1.HubLimits{Windows: req.GetLimits().GetWindows(), Stored: !req.GetUseFlags()}
		if req.GetLimits() != nil {
			s.h.Limits.BytesPerSecond, s.h.Limits.LimitBytesPerSecond = req.Limits.BytesPerSecond, req.Limits.BytesPerSecond
		}
		res = &hubv1.UpdateHubLimitsResponse{Limits: proto.CloneOf(s.h.Limits)}
	})
	return res, nil
}
