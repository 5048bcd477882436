package ctl

import (
	"context"

	"github.com/spf13/cobra"

	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) siteShow() *cobra.Command {
	return &cobra.Command{
		Use:               "show SITE",
		Short:             "Show a site: its agent, its stores, why it was last refused",
		Example:           "  atollctl site show dcn0",
		Args:              takes("SITE"),
		ValidArgsFunction: c.complete(c.sites),
		RunE: c.verb(func(ctx context.Context, args []string) error {
			res, err := c.hub.Sites.GetSite(ctx, &hubv1.GetSiteRequest{Id: args[0]})
			if err != nil {
				return err
			}
			return c.showSite(res.GetSite())
		}),
	}
}
