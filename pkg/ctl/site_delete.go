package ctl

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) siteDelete() *cobra.Command {
	req := &hubv1.DeleteSiteRequest{}
	cmd := &cobra.Command{
		Use:   "delete SITE",
		Short: "Remove a site that holds no copies, or is lost for ever, and revoke its certificates",
		Long: `Remove a site and revoke its certificates. Refused (exit code 4) while its stores hold copies or tombstones.

With --force the site counts as lost for ever: its copies are dropped from the catalog without asking it, and what waits
for them fails with STORE_GONE. Refused while its agent is connected, and while active images have their only copy there;
with --force-last-copies those become images without data, which can be imported again.`,
		Example:           "  atollctl site delete dcn1\n  atollctl site delete dcn1 --force",
		Args:              takes("SITE"),
		ValidArgsFunction: c.complete(c.sites),
		RunE: c.verb(func(ctx context.Context, args []string) error {
			req.Id = args[0]
			res, err := c.hub.Sites.DeleteSite(ctx, req)
			if err != nil {
				return err
			}
			if c.format != asTable {
				return c.show(res, nil)
			}
			dropped := ""
			if req.GetForce() {
				dropped = fmt.Sprintf(", copies dropped: %d", res.GetDroppedCopies())
			}
			_, err = fmt.Fprintf(c.env.Stdout, "site %s deleted%s\n", args[0], dropped)
			return err
		}),
	}
	cmd.Flags().BoolVar(&req.Force, "force", false, "the site is lost for ever: drop its copies without asking it")
	cmd.Flags().BoolVar(&req.ForceLastCopies, "force-last-copies", false, "with --force: drop the only copies of images too")
	return cmd
}
