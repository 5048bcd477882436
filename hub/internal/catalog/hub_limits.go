package catalog

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/schedule"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// LeastHubRate is the lowest limit of all sites together but 0: at it a frame takes four seconds for each site that moves one.
const LeastHubRate schedule.Rate = 1 << 20

// HubSchedule returns the schedule of limits of all sites together; nil is no limit. Errors are Invalid and name a field of limits.
func HubSchedule(limits *storev1.HubLimits) (schedule.Schedule, error) {
	rate := schedule.Unlimited
	if limits.GetBytesPerSecond() < 0 {
		return schedule.Always, fault.BadField("limits.bytes_per_second", "must not be negative")
	}
	if limits != nil && limits.BytesPerSecond != nil {
		rate = schedule.Rate(*limits.BytesPerSecond)
	}
	if err := rate.Check("limits.bytes_per_second", LeastHubRate); err != nil {
		return schedule.Always, err
	}
	return schedule.New("limits.windows", rate, limits.GetWindows(), LeastHubRate)
}

// LimitHub changes how fast image data may move to and from all sites together: change gets what was set, nil when nothing was,
// and returns what holds from now on, nil for what the flags of the hub say.
func (c *Catalog) LimitHub(ctx context.Context, change func(*storev1.HubLimits) *storev1.HubLimits) error {
	return c.repeat(ctx, func() error {
		old, rev := c.records.Hub()
		limits := change(proto.CloneOf(old.GetLimits()))
		if _, err := HubSchedule(limits); err != nil {
			return err
		}
		if old == nil && limits == nil {
			return nil
		}
		return c.records.Commit(ctx, Write{Key: HubKey(), Value: &storev1.Hub{Limits: limits}, Revision: rev})
	})
}
