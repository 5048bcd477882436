package ctl

import (
	"context"

	"github.com/spf13/cobra"
)

func (c *cli) imageShow() *cobra.Command {
	return &cobra.Command{
		Use:               "show IMAGE",
		Short:             "Show an image, its hashes and where its copies are",
		Example:           "  atollctl image show debian-12\n  atollctl image show debian-12 -o json | jq -r '.locations[].url'",
		Args:              takes("IMAGE"),
		ValidArgsFunction: c.complete(c.images),
		RunE: c.verb(func(ctx context.Context, args []string) error {
			img, err := c.hub.FindImage(ctx, args[0])
			if err != nil {
				return err
			}
			return c.showImage(ctx, img)
		}),
	}
}
