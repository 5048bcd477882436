package app

import (
	"context"
	"time"
	_ "time/tzdata" // windows name time zones, which the machine may not know

	"github.com/spf13/pflag"

	"github.com/atoll-dcn/atoll/hub/internal/bandwidth"
	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/identity"
	"github.com/atoll-dcn/atoll/hub/internal/reconcile"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/schedule"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// BandwidthConfig is how fast image data may move to and from all sites together.
type BandwidthConfig struct {
	Limit    string
	Windows  []string
	schedule schedule.Schedule  // made of both by check
	limits   *storev1.HubLimits // the same as a record
}

func (c *Config) bandwidth(f *pflag.FlagSet) {
	f.StringVar(&c.Bandwidth.Limit, "bandwidth-limit", "unlimited",
		"most bytes per second of image data to and from all sites together, such as 100MiB/s or 1Gbit/s; 0 stops it; until atollctl limit set says something else")
	f.StringArrayVar(&c.Bandwidth.Windows, "bandwidth-window", nil,
		`time window with a limit of its own, such as "Mon-Fri 08:00-18:00 Europe/Berlin=20MiB/s"; may be repeated, the first that fits decides`)
}

// check returns the first thing that is wrong.
func (c *BandwidthConfig) check() error {
	rate, err := schedule.ParseRate("bandwidth-limit", c.Limit, catalog.LeastHubRate)
	if err != nil {
		return err
	}
	c.limits = &storev1.HubLimits{Windows: c.Windows}
	if rate != schedule.Unlimited {
		n := int64(rate)
		c.limits.BytesPerSecond = &n
	}
	c.schedule, err = schedule.New("bandwidth-window", rate, c.Windows, catalog.LeastHubRate)
	return err
}

// limiter paces the frames of the sites. touch tells the planner which images to look at.
func (h *hub) limiter(touch func(...image.ID)) *bandwidth.Limiter {
	return bandwidth.New(bandwidth.Config{
		Records: h.records, Hub: h.Bandwidth.schedule, Log: h.log.Named("bandwidth"), Registry: h.registry, Now: time.Now,
		Changed: func(site image.SiteID) {
			for _, s := range h.records.Stores() {
				if s.SiteId != string(site) {
					continue
				}
				for _, r := range h.records.StoreReplicas(image.StoreID(s.Id)) {
					touch(image.ID(r.ImageId))
				}
			}
		},
	})
}

// pacer lets the frames of sites move as their limits allow. What comes over the unix socket uses no link and needs no turn.
type pacer struct {
	limiter *bandwidth.Limiter
	records catalog.Reader
}

// Begin waits for the turn of a frame.
func (p pacer) Begin(ctx context.Context, content image.ID) (frame.Turn, error) {
	site, _, err := identity.Caller(ctx)
	if err != nil {
		return nil, nil //nolint:nilerr,nilnil // the unix socket: no certificate, no turn
	}
	turn, err := p.limiter.Begin(ctx, site, func() int { return p.rank(site, content) })
	if err != nil {
		return nil, err
	}
	return turn, nil
}

// rank returns how the frames of a content stand at a site: as the copy of it that is under way there.
func (p pacer) rank(site image.SiteID, content image.ID) int {
	rank, found := 0, false
	for _, s := range p.records.Stores() {
		if s.SiteId != string(site) {
			continue
		}
		for _, r := range p.records.StoreReplicas(image.StoreID(s.Id)) {
			if r.ContentId != string(content) || r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE {
				continue
			}
			if of := reconcile.RankOf(r.Priority); !found || of > rank {
				rank, found = of, true
			}
		}
	}
	return rank
}
