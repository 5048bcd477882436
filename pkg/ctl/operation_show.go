package ctl

import (
	"context"

	"github.com/spf13/cobra"

	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) operationShow() *cobra.Command {
	return &cobra.Command{
		Use:               "show OPERATION",
		Short:             "Show an operation and what became of each store",
		Example:           "  atollctl operation show 2bd882e7-1da0-4078-97fe-f1bb81f61b00",
		Args:              takes("OPERATION"),
		ValidArgsFunction: c.complete(c.operations(false)),
		RunE: c.verb(func(ctx context.Context, args []string) error {
			res, err := c.hub.Operations.GetOperation(ctx, &hubv1.GetOperationRequest{Id: args[0]})
			if err != nil {
				return err
			}
			return c.showOperation(res.GetOperation())
		}),
	}
}
