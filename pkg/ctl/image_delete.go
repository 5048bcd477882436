package ctl

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) imageDelete() *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use:   "delete IMAGE",
		Short: "Delete an image and all its copies; refused while one is in use",
		Long: `Delete an image and all its copies. Every store that can be reached is asked first whether its copy is in use; if
one is, nothing is deleted anywhere and the exit code is 4. Sites that are offline delete when they return.`,
		Example:           "  atollctl image delete debian-12",
		Args:              takes("IMAGE"),
		ValidArgsFunction: c.complete(c.images),
		RunE: c.verb(func(ctx context.Context, args []string) error {
			id, err := c.imageID(ctx, args[0])
			if err != nil {
				return err
			}
			res, err := c.hub.Images.DeleteImage(ctx, &hubv1.DeleteImageRequest{Id: id})
			if err != nil {
				return err
			}
			return c.finish(ctx, res.GetOperation(), wait, func(*hubv1.Operation) error {
				_, err := fmt.Fprintf(c.env.Stdout, "image %s deleted\n", id)
				return err
			})
		}),
	}
	waitFlag(cmd, &wait)
	return cmd
}
