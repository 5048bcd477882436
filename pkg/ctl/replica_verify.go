package ctl

import (
	"context"

	"github.com/spf13/cobra"

	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) replicaVerify() *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use:   "verify IMAGE STORE",
		Short: "Make the site compare its copy with the manifest",
		Long: `Make the site compare its copy with the manifest now, by checksums of its OSDs or by reading it (verify in the agent's
configuration). The hub does the same by itself with every copy within --scrub-period. The operation fails with reason
REPLICA_DAMAGED when they differ.`,
		Example:           "  atollctl replica verify debian-12 dcn0",
		Args:              takes("IMAGE", "STORE"),
		ValidArgsFunction: c.complete(c.images, c.stores),
		RunE: c.verb(func(ctx context.Context, args []string) error {
			id, err := c.imageID(ctx, args[0])
			if err != nil {
				return err
			}
			res, err := c.hub.Replicas.VerifyReplica(ctx, &hubv1.VerifyReplicaRequest{ImageId: id, StoreId: args[1]})
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
