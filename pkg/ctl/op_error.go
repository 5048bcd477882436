package ctl

import (
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/rpc"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// opError is an operation that did not succeed, or not everywhere.
type opError struct {
	op    *hubv1.Operation
	lines []string // one for each store that failed
	hints []string
}

// failureOf returns nil when the operation succeeded in all its stores.
func failureOf(op *hubv1.Operation) *opError {
	e := &opError{op: op}
	for _, s := range op.GetStores() {
		if s.GetState() == hubv1.OperationState_OPERATION_STATE_FAILED {
			e.lines = append(e.lines, s.GetStoreId()+": "+s.GetError().GetMessage()+" ["+s.GetError().GetReason()+"]")
		}
	}
	if op.GetState() == hubv1.OperationState_OPERATION_STATE_SUCCEEDED && len(e.lines) == 0 {
		return nil
	}
	return e
}

// Error returns what went wrong, in one line.
func (e *opError) Error() string {
	switch e.op.GetState() {
	case hubv1.OperationState_OPERATION_STATE_SUCCEEDED:
		return "done, but not in every store"
	case hubv1.OperationState_OPERATION_STATE_CANCELLED:
		return "operation " + e.op.GetId() + " was cancelled"
	default:
		if m := e.op.GetError().GetMessage(); m != "" {
			return m
		}
		return "operation " + e.op.GetId() + " failed"
	}
}

func (e *opError) details() []string { return append(e.lines, e.hints...) }

func (e *opError) exitCode() int {
	if e.op.GetState() == hubv1.OperationState_OPERATION_STATE_SUCCEEDED {
		return exitPartial
	}
	// A delete is refused by the stores, after it was accepted: for scripts that is a refusal like any other.
	class := rpc.Class(uint32(e.op.GetError().GetCode()))
	if isDelete(e.op) && (class == fault.Precondition || class == fault.Conflict) {
		return exitConflict
	}
	return exitFailed
}

func isDelete(op *hubv1.Operation) bool {
	return op.GetKind() == hubv1.OperationKind_OPERATION_KIND_DELETE_IMAGE ||
		op.GetKind() == hubv1.OperationKind_OPERATION_KIND_DELETE_REPLICA
}
