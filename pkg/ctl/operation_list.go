package ctl

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) operationList() *cobra.Command {
	var running bool
	var img string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List operations, newest first",
		Long:    "List operations, newest first. They are kept for 30 days after they are done.",
		Example: "  atollctl operation list --running\n  atollctl operation list --image debian-12",
		Args:    takes(),
		RunE: c.verb(func(ctx context.Context, _ []string) error {
			req := &hubv1.ListOperationsRequest{RunningOnly: running}
			if img != "" {
				found, err := c.imageID(ctx, img)
				if err != nil {
					return err
				}
				req.ImageId = found
			}
			ops, err := collect(c.hub.AllOperations(ctx, req))
			if err != nil {
				return err
			}
			header := []string{"OPERATION", "KIND", "IMAGE", "STATE", "STORES", "DONE", "AGE", "TOOK"}
			return showList(c, "operations", ops, header, func(op *hubv1.Operation) []string {
				took := ""
				if op.GetEndTime() != nil {
					took = span(op.GetEndTime().AsTime().Sub(op.GetCreateTime().AsTime()))
				}
				return []string{
					op.GetId(), kindWord(op), op.GetImageId(), stateWord(op.GetState()), storeCount(op), share(op),
					c.age(op.GetCreateTime()), took,
				}
			})
		}),
	}
	cmd.Flags().BoolVar(&running, "running", false, "only operations that are not done")
	cmd.Flags().StringVar(&img, "image", "", "only operations of this image (id or name)")
	c.completeFlag(cmd, "image", c.images)
	return cmd
}

// storeCount returns how many of the stores have succeeded.
func storeCount(op *hubv1.Operation) string {
	done := 0
	for _, s := range op.GetStores() {
		if s.GetState() == hubv1.OperationState_OPERATION_STATE_SUCCEEDED {
			done++
		}
	}
	return fmt.Sprintf("%d/%d", done, len(op.GetStores()))
}

// share returns how much of all the bytes to write has been written; empty while unknown.
func share(op *hubv1.Operation) string {
	var done, total int64
	for _, s := range op.GetStores() {
		done += s.GetReplica().GetProgress().GetBytesDone()
		total += s.GetReplica().GetProgress().GetBytesTotal()
	}
	if total <= 0 || op.GetState() != hubv1.OperationState_OPERATION_STATE_RUNNING {
		return ""
	}
	return fmt.Sprintf("%d%%", percent(done, total))
}
