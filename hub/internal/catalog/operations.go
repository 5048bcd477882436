package catalog

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Cancel stops a running import, copy or verification. The reconciler removes what it has written so far.
func (c *Catalog) Cancel(ctx context.Context, id image.ID) error {
	return c.repeat(ctx, func() error {
		old, rev := c.records.Operation(id)
		if old == nil {
			return fault.New(fault.NotFound, "OPERATION_NOT_FOUND", "no operation %s", id)
		}
		if old.State != storev1.OperationState_OPERATION_STATE_RUNNING {
			return fault.New(fault.Precondition, "OPERATION_DONE", "operation %s is done", id)
		}
		op := proto.CloneOf(old)
		switch op.Kind {
		case storev1.OperationKind_OPERATION_KIND_DELETE_IMAGE, storev1.OperationKind_OPERATION_KIND_DELETE_REPLICA:
			return fault.New(fault.Precondition, "NOT_CANCELLABLE", "a delete cannot be cancelled")
		case storev1.OperationKind_OPERATION_KIND_VERIFY:
			op.State = storev1.OperationState_OPERATION_STATE_CANCELLED
			op.EndTime = c.stamp()
			for _, p := range op.Stores {
				p.State = op.State
			}
		default:
			if op.Undoing != storev1.OperationState_OPERATION_STATE_UNSPECIFIED {
				return nil
			}
			op.Undoing = storev1.OperationState_OPERATION_STATE_CANCELLED
		}
		return c.records.Commit(ctx, Write{Key: OperationKey(id), Value: op, Revision: rev})
	})
}
