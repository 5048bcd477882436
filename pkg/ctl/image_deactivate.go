package ctl

import (
	"context"

	"github.com/spf13/cobra"

	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) imageDeactivate() *cobra.Command {
	return &cobra.Command{
		Use:   "deactivate IMAGE",
		Short: "Forbid to read the data of an image; its copies stay",
		Long: `Forbid to read the data of an image to all but administrators, for example while it is examined. The copies stay, and
instances that run go on. 'image reactivate' allows it again.`,
		Example:           "  atollctl image deactivate debian-12",
		Args:              takes("IMAGE"),
		ValidArgsFunction: c.complete(c.images),
		RunE: c.verb(func(ctx context.Context, args []string) error {
			id, err := c.imageID(ctx, args[0])
			if err != nil {
				return err
			}
			res, err := c.hub.Images.DeactivateImage(ctx, &hubv1.DeactivateImageRequest{Id: id})
			if err != nil {
				return err
			}
			return c.showImage(ctx, res.GetImage())
		}),
	}
}

func (c *cli) imageReactivate() *cobra.Command {
	return &cobra.Command{
		Use:               "reactivate IMAGE",
		Short:             "Allow again to read the data of an image",
		Example:           "  atollctl image reactivate debian-12",
		Args:              takes("IMAGE"),
		ValidArgsFunction: c.complete(c.images),
		RunE: c.verb(func(ctx context.Context, args []string) error {
			id, err := c.imageID(ctx, args[0])
			if err != nil {
				return err
			}
			res, err := c.hub.Images.ReactivateImage(ctx, &hubv1.ReactivateImageRequest{Id: id})
			if err != nil {
				return err
			}
			return c.showImage(ctx, res.GetImage())
		}),
	}
}
