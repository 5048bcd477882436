package ctl

import (
	"context"

	"github.com/spf13/cobra"

	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) sitePause() *cobra.Command {
	return &cobra.Command{
		Use:   "pause SITE",
		Short: "Stop image data to and from a site",
		Long: `Stop image data to and from a site within a second. Copies under way wait with SITE_PAUSED and keep what they have; a
paused site is neither failed nor offline. Published copies, deletes and verifications go on as before.`,
		Example:           "  atollctl site pause dcn0\n  atollctl site resume dcn0",
		Args:              takes("SITE"),
		ValidArgsFunction: c.complete(c.sites),
		RunE: c.verb(func(ctx context.Context, args []string) error {
			res, err := c.hub.Sites.PauseSite(ctx, &hubv1.PauseSiteRequest{Id: args[0]})
			if err != nil {
				return err
			}
			return c.showSite(res.GetSite())
		}),
	}
}

func (c *cli) siteResume() *cobra.Command {
	return &cobra.Command{
		Use:               "resume SITE",
		Short:             "Let a paused site go on",
		Example:           "  atollctl site resume dcn0",
		Args:              takes("SITE"),
		ValidArgsFunction: c.complete(c.sites),
		RunE: c.verb(func(ctx context.Context, args []string) error {
			res, err := c.hub.Sites.ResumeSite(ctx, &hubv1.ResumeSiteRequest{Id: args[0]})
			if err != nil {
				return err
			}
			return c.showSite(res.GetSite())
		}),
	}
}
