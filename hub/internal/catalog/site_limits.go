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

// MostTransfers is the highest limit of copies that a site fills at the same time.
const MostTransfers = 64

// LimitParts says which limits of a site are meant.
type LimitParts struct{ Rate, Windows, Parallel bool }

// LimitSite changes how fast image data may move between the hub and a site and how many copies the site fills at the same
// time, as far as parts says.
func (c *Catalog) LimitSite(ctx context.Context, id image.SiteID, limits *storev1.SiteLimits, parts LimitParts) error {
	if limits == nil {
		limits = &storev1.SiteLimits{}
	}
	return c.ChangeSite(ctx, id, func(s *storev1.Site) error {
		l := &storev1.SiteLimits{}
		if s.Limits != nil {
			l = proto.CloneOf(s.Limits)
		}
		if parts.Rate {
			l.BytesPerSecond = limits.BytesPerSecond
		}
		if parts.Windows {
			l.Windows = limits.GetWindows()
		}
		if parts.Parallel {
			l.ParallelTransfers = limits.ParallelTransfers
		}
		if _, err := SiteSchedule(l); err != nil {
			return err
		}
		if n := l.ParallelTransfers; n != nil && (*n < 1 || *n > MostTransfers) {
			return fault.BadField("limits.parallel_transfers", "%d is not between 1 and %d", *n, MostTransfers)
		}
		s.Limits = l
		if proto.Equal(l, &storev1.SiteLimits{}) {
			s.Limits = nil
		}
		return nil
	})
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
