package ctl

import (
	"context"

	"github.com/spf13/cobra"
)

func (c *cli) replicaShow() *cobra.Command {
	return &cobra.Command{
		Use:               "show IMAGE STORE",
		Short:             "Show one copy",
		Example:           "  atollctl replica show debian-12 dcn0",
		Args:              takes("IMAGE", "STORE"),
		ValidArgsFunction: c.complete(c.images, c.stores),
		RunE: c.verb(func(ctx context.Context, args []string) error {
			id, err := c.imageID(ctx, args[0])
			if err != nil {
				return err
			}
			return c.showReplicaOf(ctx, id, args[1])
		}),
	}
}
