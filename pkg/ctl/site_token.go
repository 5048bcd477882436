package ctl

import (
	"context"

	"github.com/spf13/cobra"

	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) siteToken() *cobra.Command {
	return &cobra.Command{
		Use:               "token SITE",
		Short:             "Print a new join token; earlier unused ones stop working",
		Example:           "  atollctl site token dcn0",
		Args:              takes("SITE"),
		ValidArgsFunction: c.complete(c.sites),
		RunE: c.verb(func(ctx context.Context, args []string) error {
			res, err := c.hub.Sites.CreateJoinToken(ctx, &hubv1.CreateJoinTokenRequest{SiteId: args[0]})
			if err != nil {
				return err
			}
			if c.format != asTable {
				return c.show(res, nil)
			}
			return c.showToken(args[0], res.GetJoinToken(), res.GetJoinTokenExpireTime())
		}),
	}
}
