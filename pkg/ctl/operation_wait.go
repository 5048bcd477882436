package ctl

import (
	"context"

	"github.com/spf13/cobra"

	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) operationWait() *cobra.Command {
	return &cobra.Command{
		Use:   "wait OPERATION",
		Short: "Follow an operation until it is done",
		Long: `Follow an operation until it is done, showing progress. The exit code tells how it ended: 0 done everywhere,
6 done but not in every store, 1 failed or cancelled, 7 when --timeout passes first.`,
		Example:           "  atollctl operation wait 2bd882e7-1da0-4078-97fe-f1bb81f61b00 --timeout 10m",
		Args:              takes("OPERATION"),
		ValidArgsFunction: c.complete(c.operations(true)),
		RunE: c.verb(func(ctx context.Context, args []string) error {
			res, err := c.hub.Operations.GetOperation(ctx, &hubv1.GetOperationRequest{Id: args[0]})
			if err != nil {
				return err
			}
			return c.finish(ctx, res.GetOperation(), true, c.showOperation)
		}),
	}
}
