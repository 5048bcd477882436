package ctl

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) replicaDelete() *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use:   "delete IMAGE STORE",
		Short: "Delete one copy; the last one and one in use are refused",
		Long: `Delete one copy. The last copy of an image and a copy in use are refused. A site that is offline keeps a
tombstone and deletes when it returns.`,
		Example:           "  atollctl replica delete debian-12 dcn1",
		Args:              takes("IMAGE", "STORE"),
		ValidArgsFunction: c.complete(c.images, c.stores),
		RunE: c.verb(func(ctx context.Context, args []string) error {
			id, err := c.imageID(ctx, args[0])
			if err != nil {
				return err
			}
			res, err := c.hub.Replicas.DeleteReplica(ctx, &hubv1.DeleteReplicaRequest{ImageId: id, StoreId: args[1]})
			if err != nil {
				return err
			}
			return c.finish(ctx, res.GetOperation(), wait, func(*hubv1.Operation) error {
				_, err := fmt.Fprintf(c.env.Stdout, "copy of image %s in %s deleted\n", id, args[1])
				return err
			})
		}),
	}
	waitFlag(cmd, &wait)
	return cmd
}
