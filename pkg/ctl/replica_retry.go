package ctl

import (
	"context"

	"github.com/spf13/cobra"

	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) replicaRetry() *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use:   "retry IMAGE STORE",
		Short: "Start a failed or waiting copy again at once",
		Long: `Start a failed or waiting copy again at once. A copy that a verification has found damaged is made again: its site is asked
whether anything depends on it, it is removed, and written anew from another copy. It is kept when it has dependants, or when no
other site that can be reached holds a good copy.`,
		Example:           "  atollctl replica retry debian-12 dcn0",
		Args:              takes("IMAGE", "STORE"),
		ValidArgsFunction: c.complete(c.images, c.stores),
		RunE: c.verb(func(ctx context.Context, args []string) error {
			id, err := c.imageID(ctx, args[0])
			if err != nil {
				return err
			}
			res, err := c.hub.Replicas.RetryReplica(ctx, &hubv1.RetryReplicaRequest{ImageId: id, StoreId: args[1]})
			if err != nil {
				return err
			}
			return c.finish(ctx, res.GetOperation(), wait, func(*hubv1.Operation) error {
				return c.showReplicaOf(ctx, id, args[1])
			})
		}),
	}
	waitFlag(cmd, &wait)
	return cmd
}
