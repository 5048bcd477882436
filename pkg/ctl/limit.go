package ctl

import (
	"context"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/schedule"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) limit() *cobra.Command {
	return noun("limit", groupPlaces, "How fast image data may move to and from all sites together", c.limitShow(), c.limitSet())
}

func (c *cli) limitShow() *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Show the limits of all sites together", Example: "  atollctl limit show", Args: takes(),
		RunE: c.verb(func(ctx context.Context, _ []string) error {
			res, err := c.hub.Limits.GetHubLimits(ctx, &hubv1.GetHubLimitsRequest{})
			if err != nil {
				return err
			}
			return c.showLimits(res.GetLimits())
		}),
	}
}

func (c *cli) limitSet() *cobra.Command {
	var rate string
	var windows []string
	var none, reset bool
	cmd := &cobra.Command{
		Use:   "set",
		Short: "Change how fast image data may move to and from all sites together",
		Long: `Change how fast image data may move to and from all sites together, both ways. Sites that want more get the same each.
It acts within a second on copies under way, and holds on every hub and over restarts, whatever --bandwidth-limit and
--bandwidth-window of the hubs say.

--rate is what holds outside of all windows: a number with a unit (KiB/s, MiB/s, GiB/s, kB/s, MB/s, GB/s, kbit/s, Mbit/s,
Gbit/s), at least 1MiB/s; "unlimited"; or 0, which stops all sites.

--window is "DAYS HH:MM-HH:MM [ZONE]=RATE" as in "site limit". The windows given replace those before.

What is not given stays as it is.`,
		Example: `  atollctl limit set --rate 1Gbit/s
  atollctl limit set --rate unlimited --window "Mon-Fri 08:00-18:00 Europe/Berlin=200Mbit/s"
  atollctl limit set --clear
  atollctl limit set --reset`,
		Args: takes(),
		RunE: c.verb(func(ctx context.Context, _ []string) error {
			limit, given, err := parseLimit(rate, windows)
			req := &hubv1.UpdateHubLimitsRequest{
				Limits: &hubv1.HubLimits{BytesPerSecond: limit, Windows: windows}, UpdateMask: &fieldmaskpb.FieldMask{Paths: given},
			}
			switch {
			case err != nil:
				return err
			case reset:
				req = &hubv1.UpdateHubLimitsRequest{UseFlags: true}
			case len(given) == 0 && !none:
				return fault.BadField("--rate", "give --rate, --window, --clear or --reset")
			}
			res, err := c.hub.Limits.UpdateHubLimits(ctx, req)
			if err != nil {
				return err
			}
			return c.showLimits(res.GetLimits())
		}),
	}
	cmd.Flags().StringVar(&rate, "rate", "", "limit outside of all windows, such as 100MiB/s, 1Gbit/s, unlimited or 0")
	cmd.Flags().StringArrayVar(&windows, "window", nil, "time window with a limit of its own; may be repeated")
	cmd.Flags().BoolVar(&none, "clear", false, "remove the limit and all windows")
	cmd.Flags().BoolVar(&reset, "reset", false, "forget what was set: the flags of the hub hold again")
	for _, pair := range [][2]string{{"clear", "rate"}, {"clear", "window"}, {"reset", "rate"}, {"reset", "window"}, {"reset", "clear"}} {
		cmd.MarkFlagsMutuallyExclusive(pair[:]...)
	}
	return cmd
}

// parseLimit reads the flags that limits of a site and of all sites share, and returns the paths of those that were given.
func parseLimit(rate string, windows []string) (bytesPerSecond *int64, given []string, err error) {
	if rate != "" {
		r, err := schedule.ParseRate("--rate", rate, 0)
		if err != nil {
			return nil, nil, err
		}
		if r != schedule.Unlimited {
			n := int64(r)
			bytesPerSecond = &n
		}
		given = append(given, "bytes_per_second")
	}
	if len(windows) > 0 {
		given = append(given, "windows")
	}
	return bytesPerSecond, given, nil
}

// showLimits writes the limits of all sites together.
func (c *cli) showLimits(m *hubv1.HubLimits) error {
	return c.show(m, func(l *lines) {
		l.add("limit now", rateOf(m.LimitBytesPerSecond).String())
		if m.GetLimitChangeTime() != nil {
			l.add("limit changes", c.when(m.GetLimitChangeTime()))
		}
		l.add("limit", rateOf(m.BytesPerSecond).String())
		l.pairs("windows", m.GetWindows()...)
		from := "the flags of the hub"
		if m.GetStored() {
			from = "limit set"
		}
		l.add("set by", from)
	})
}
