package ctl

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) siteDelete() *cobra.Command {
	return &cobra.Command{
		Use:               "delete SITE",
		Short:             "Remove a site that holds no copies and revoke its certificates",
		Example:           "  atollctl site delete dcn1",
		Args:              takes("SITE"),
		ValidArgsFunction: c.complete(c.sites),
		RunE: c.verb(func(ctx context.Context, args []string) error {
			res, err := c.hub.Sites.DeleteSite(ctx, &hubv1.DeleteSiteRequest{Id: args[0]})
			if err != nil {
				return err
			}
			if c.format != asTable {
				return c.show(res, nil)
			}
			_, err = fmt.Fprintf(c.env.Stdout, "site %s deleted\n", args[0])
			return err
		}),
	}
}
