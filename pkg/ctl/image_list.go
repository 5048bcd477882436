package ctl

import (
	"context"

	"github.com/spf13/cobra"

	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) imageList() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List images, newest first",
		Example: "  atollctl image list\n  atollctl image list -o json | jq -r '.images[] | select(.status == \"IMAGE_STATUS_ACTIVE\").id'",
		Args:    takes(),
		RunE: c.verb(func(ctx context.Context, _ []string) error {
			images, err := collect(c.hub.AllImages(ctx, &hubv1.ListImagesRequest{Name: name}))
			if err != nil {
				return err
			}
			header := []string{"IMAGE", "NAME", "STATUS", "SIZE", "STORES", "IMPORTING", "FAILED", "AGE"}
			return showList(c, "images", images, header, func(img *hubv1.Image) []string {
				length := ""
				if img.GetSizeBytes() > 0 {
					length = size(img.GetSizeBytes())
				}
				return []string{
					img.GetId(), img.GetName(), word(img.GetStatus(), "IMAGE_STATUS_"), length, few(img.GetStores()),
					few(img.GetImportingToStores()), few(img.GetFailedImport()), c.age(img.GetCreateTime()),
				}
			})
		}),
	}
	cmd.Flags().StringVar(&name, "name", "", "only images with this name")
	c.completeFlag(cmd, "name", c.images)
	return cmd
}
