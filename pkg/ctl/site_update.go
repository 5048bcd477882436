package ctl

import (
	"context"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) siteUpdate() *cobra.Command {
	var description string
	cmd := &cobra.Command{
		Use:               "update SITE --description TEXT",
		Short:             "Change the description of a site",
		Example:           "  atollctl site update dcn0 --description \"Tower 0, second floor\"",
		Args:              takes("SITE"),
		ValidArgsFunction: c.complete(c.sites),
		RunE: c.verb(func(ctx context.Context, args []string) error {
			res, err := c.hub.Sites.UpdateSite(ctx, &hubv1.UpdateSiteRequest{
				Site:       &hubv1.Site{Id: args[0], Description: description},
				UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"description"}},
			})
			if err != nil {
				return err
			}
			return c.showSite(res.GetSite())
		}),
	}
	cmd.Flags().StringVar(&description, "description", "", "free text, at most 255 characters")
	must(cmd.MarkFlagRequired("description"))
	return cmd
}
