package ctl

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) siteRevoke() *cobra.Command {
	return &cobra.Command{
		Use:               "revoke SITE",
		Short:             "Revoke every certificate of a site and end its session",
		Example:           "  atollctl site revoke dcn0\n  atollctl site token dcn0",
		Args:              takes("SITE"),
		ValidArgsFunction: c.complete(c.sites),
		RunE: c.verb(func(ctx context.Context, args []string) error {
			res, err := c.hub.Sites.RevokeCertificates(ctx, &hubv1.RevokeCertificatesRequest{SiteId: args[0]})
			if err != nil {
				return err
			}
			if c.format != asTable {
				return c.show(res, nil)
			}
			_, err = fmt.Fprintf(c.env.Stdout, "certificates revoked: %d\n", res.GetRevoked())
			return err
		}),
	}
}
