package api

import (
	"context"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/schedule"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// limits implements atoll.hub.v1.LimitService.
type limits struct {
	hubv1.UnimplementedLimitServiceServer
	*view
}

func (s *limits) GetHubLimits(ctx context.Context, _ *hubv1.GetHubLimitsRequest) (*hubv1.GetHubLimitsResponse, error) {
	if err := s.require(auth.From(ctx), ruleSites, nil); err != nil {
		return nil, err
	}
	return &hubv1.GetHubLimitsResponse{Limits: s.message()}, nil
}

func (s *limits) UpdateHubLimits(ctx context.Context, req *hubv1.UpdateHubLimitsRequest) (*hubv1.UpdateHubLimitsResponse, error) {
	if err := s.require(auth.From(ctx), ruleSites, nil); err != nil {
		return nil, err
	}
	paths := req.GetUpdateMask().GetPaths()
	if req.GetUseFlags() && (req.GetLimits() != nil || len(paths) > 0) {
		return nil, fault.BadField("use_flags", "nothing else may be given with it")
	}
	rate, windows := len(paths) == 0, len(paths) == 0
	for _, p := range paths {
		switch p {
		case "bytes_per_second":
			rate = true
		case "windows":
			windows = true
		default:
			return nil, fault.BadField("update_mask", "%q cannot be updated; use bytes_per_second or windows", p)
		}
	}
	err := s.Catalog.LimitHub(ctx, func(l *storev1.HubLimits) *storev1.HubLimits {
		if req.GetUseFlags() {
			return nil
		}
		if l == nil {
			l = proto.CloneOf(s.HubLimits)
		}
		if rate {
			l.BytesPerSecond = nil
			if req.GetLimits() != nil {
				l.BytesPerSecond = req.Limits.BytesPerSecond
			}
		}
		if windows {
			l.Windows = req.GetLimits().GetWindows()
		}
		return l
	})
	if err != nil {
		return nil, err
	}
	return &hubv1.UpdateHubLimitsResponse{Limits: s.message()}, nil
}

// message returns the limits that hold, and what they mean now.
func (s *limits) message() *hubv1.HubLimits {
	r, _ := s.read().Hub()
	l := r.GetLimits()
	m := &hubv1.HubLimits{Stored: l != nil}
	if l == nil {
		l = s.HubLimits
	}
	m.BytesPerSecond, m.Windows = l.BytesPerSecond, l.Windows
	status := s.Bandwidth.HubStatus()
	if status.Limit != schedule.Unlimited {
		n := int64(status.Limit)
		m.LimitBytesPerSecond = &n
	}
	if !status.Next.IsZero() {
		m.LimitChangeTime = timestamppb.New(status.Next)
	}
	return m
}
