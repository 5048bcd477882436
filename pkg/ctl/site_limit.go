package ctl

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/schedule"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) siteLimit() *cobra.Command {
	var rate, parallel string
	var windows []string
	var none bool
	cmd := &cobra.Command{
		Use:   "limit SITE",
		Short: "Change how fast image data may move between the hub and a site, and how many copies at once",
		Long: `Change how fast image data may move between the hub and a site, both ways together, and how many copies the site fills
at the same time. It acts within a second on copies under way.

--rate is what holds outside of all windows: a number with a unit (KiB/s, MiB/s, GiB/s, kB/s, MB/s, GB/s, kbit/s, Mbit/s,
Gbit/s), at least 64KiB/s; "unlimited"; or 0, which stops it like a pause.

--window is "DAYS HH:MM-HH:MM [ZONE]=RATE". DAYS are days and ranges of them joined by commas, or "daily"; a window that
ends at or before its start ends on the next day; ZONE is a name of the time zone database, UTC if left out. The first
window that fits decides. The windows given replace those before.

--parallel is how many copies the site fills at the same time, in all its stores together: 1 to 64, or "default" for what its
agent is configured to do. Copies above it end the chunks that are on their way, keep what they have and wait with QUEUED.

What is not given stays as it is.`,
		Example: `  atollctl site limit dcn0 --rate 20MiB/s
  atollctl site limit dcn0 --rate unlimited --window "Mon-Fri 08:00-18:00 Europe/Berlin=20MiB/s" --window "Sat,Sun 10:00-16:00=0"
  atollctl site limit dcn0 --parallel 2
  atollctl site limit dcn0 --clear`,
		Args:              takes("SITE"),
		ValidArgsFunction: c.complete(c.sites),
		RunE: c.verb(func(ctx context.Context, args []string) error {
			limit, given, err := parseLimit(rate, windows)
			if err != nil {
				return err
			}
			req := &hubv1.SetSiteLimitsRequest{
				Id: args[0], Limits: &hubv1.SiteLimits{BytesPerSecond: limit, Windows: windows}, UpdateMask: &fieldmaskpb.FieldMask{Paths: given},
			}
			if parallel != "" {
				n, err := parseParallel(parallel)
				if err != nil {
					return err
				}
				req.Limits.ParallelTransfers = n
				req.UpdateMask.Paths = append(req.UpdateMask.Paths, "parallel_transfers")
			}
			if len(req.UpdateMask.Paths) == 0 && !none {
				return fault.BadField("--rate", "give --rate, --window, --parallel or --clear")
			}
			res, err := c.hub.Sites.SetSiteLimits(ctx, req)
			if err != nil {
				return err
			}
			return c.showSite(res.GetSite())
		}),
	}
	cmd.Flags().StringVar(&rate, "rate", "", "limit outside of all windows, such as 20MiB/s, 100Mbit/s, unlimited or 0")
	cmd.Flags().StringArrayVar(&windows, "window", nil, "time window with a limit of its own; may be repeated")
	cmd.Flags().BoolVar(&none, "clear", false, "remove all limits and windows")
	cmd.Flags().StringVar(&parallel, "parallel", "", "copies that the site fills at the same time, 1 to 64, or default")
	cmd.MarkFlagsMutuallyExclusive("clear", "parallel")
	cmd.MarkFlagsMutuallyExclusive("clear", "rate")
	cmd.MarkFlagsMutuallyExclusive("clear", "window")
	return cmd
}

// parseParallel returns a number of copies; nil for the agent's own. The hub checks its range.
func parseParallel(text string) (*int32, error) {
	if text == "default" {
		return nil, nil //nolint:nilnil // no limit
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return nil, fault.BadField("--parallel", "%q is neither a number nor \"default\"", text)
	}
	out := int32(n)
	return &out, nil
}

// rateOf returns a rate of the API; nil is no limit.
func rateOf(bytesPerSecond *int64) schedule.Rate {
	if bytesPerSecond == nil {
		return schedule.Unlimited
	}
	return schedule.Rate(*bytesPerSecond)
}

// limitNow returns what limits a site now.
func limitNow(s *hubv1.Site) string {
	if s.GetPauseTime() != nil {
		return "paused"
	}
	return rateOf(s.LimitBytesPerSecond).String()
}

// perSecond returns a rate for people; empty for none.
func perSecond(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%s/s", size(n))
}
