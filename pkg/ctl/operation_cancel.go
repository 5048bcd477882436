package ctl

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/atoll-dcn/atoll/pkg/fault"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) operationCancel() *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use:   "cancel OPERATION",
		Short: "Stop an import, copy or verification and remove what it has written",
		Long: `Stop a running import, copy or verification and remove what it has written so far. Stores that other running
operations also want go on. Waits until everything is removed unless --wait=false.`,
		Example:           "  atollctl operation cancel 2bd882e7-1da0-4078-97fe-f1bb81f61b00",
		Args:              takes("OPERATION"),
		ValidArgsFunction: c.complete(c.operations(true)),
		RunE: c.verb(func(ctx context.Context, args []string) error {
			res, err := c.hub.Operations.CancelOperation(ctx, &hubv1.CancelOperationRequest{Id: args[0]})
			if err != nil {
				return err
			}
			if !wait {
				return c.started(res.GetOperation())
			}
			p := c.newProgress()
			op, err := c.follow(ctx, res.GetOperation(), p)
			p.close()
			if err != nil {
				return err
			}
			if op.GetState() == hubv1.OperationState_OPERATION_STATE_SUCCEEDED {
				return fault.New(fault.Precondition, "OPERATION_DONE", "operation %s succeeded before it could be cancelled", op.GetId())
			}
			if c.format != asTable {
				return c.show(op, nil)
			}
			_, err = fmt.Fprintf(c.env.Stdout, "operation %s %s\n", op.GetId(), stateWord(op.GetState()))
			return err
		}),
	}
	waitFlag(cmd, &wait)
	return cmd
}
