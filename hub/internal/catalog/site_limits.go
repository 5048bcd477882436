package catalog

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/schedule"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// LeastSiteRate is the lowest limit of a site but 0: at it a whole frame takes 64 s.
const LeastSiteRate schedule.Rate = 64 << 10

// SiteSchedule returns the schedule of a site's limits; nil is no limit. Errors are Invalid and name a field of limits.
func SiteSchedule(limits *storev1.SiteLimits) (schedule.Schedule, error) {
	rate := schedule.Unlimited
	if limits.GetBytesPerSecond() < 0 {
		return schedule.Always, fault.BadField("limits.bytes_per_second", "must not be negative")
	}
	if limits != nil && limits.BytesPerSecond != nil {
		rate = schedule.Rate(*limits.BytesPerSecond)
	}
	if err := rate.Check("limits.bytes_per_second", LeastSiteRate); err != nil {
		return schedule.Always, err
	}
	return schedule.New("limits.windows", rate, limits.GetWindows(), LeastSiteRate)
}

// LimitSite changes how fast image data may move between the hub and a site: the rate, the windows or both.
func (c *Catalog) LimitSite(ctx context.Context, id image.SiteID, limits *storev1.SiteLimits, rate, windows bool) error {
	return c.ChangeSite(ctx, id, func(s *storev1.Site) error {
		l := &storev1.SiteLimits{BytesPerSecond: rateOf(s.Limits), Windows: s.GetLimits().GetWindows()}
		if rate {
			l.BytesPerSecond = rateOf(limits)
		}
		if windows {
			l.Windows = limits.GetWindows()
		}
		if _, err := SiteSchedule(l); err != nil {
			return err
		}
		s.Limits = l
		if proto.Equal(l, &storev1.SiteLimits{}) {
			s.Limits = nil
		}
		return nil
	})
}

// rateOf returns the rate of limits, which may be nil; nil for none.
func rateOf(l *storev1.SiteLimits) *int64 {
	if l == nil {
		return nil
	}
	return l.BytesPerSecond
}

// PauseSite stops image data to and from a site, or lets it go on. Asking for what is so already changes nothing.
func (c *Catalog) PauseSite(ctx context.Context, id image.SiteID, paused bool) error {
	return c.ChangeSite(ctx, id, func(s *storev1.Site) error {
		switch {
		case !paused:
			s.PauseTime = nil
		case s.PauseTime == nil:
			s.PauseTime = c.stamp()
		}
		return nil
	})
}
