package catalog

import (
	"fmt"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/rpc"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// ReasonStoreGone is the reason of a part of an operation whose store has been removed together with its site.
const ReasonStoreGone = "STORE_GONE"

// StoreGone returns the error of a part of an operation whose store has been removed.
func StoreGone(store string) *storev1.OperationError {
	return &storev1.OperationError{
		Code: int32(rpc.Code(fault.NotFound)), Reason: ReasonStoreGone, Message: fmt.Sprintf("store %s is no longer registered", store),
	}
}

// LoseStore makes the part of a running operation fail whose store has been removed, if the operation wants a copy there.
// It reports whether it has changed anything.
func LoseStore(o *storev1.Operation, store string) bool {
	switch o.Kind {
	case storev1.OperationKind_OPERATION_KIND_IMPORT, storev1.OperationKind_OPERATION_KIND_COPY, storev1.OperationKind_OPERATION_KIND_ADOPT:
	default:
		return false
	}
	if o.State != storev1.OperationState_OPERATION_STATE_RUNNING || o.Undoing != storev1.OperationState_OPERATION_STATE_UNSPECIFIED {
		return false
	}
	changed := false
	for _, part := range o.Stores {
		if part.StoreId == store && part.Error.GetReason() != ReasonStoreGone {
			part.State, part.Error = storev1.OperationState_OPERATION_STATE_FAILED, StoreGone(store)
			changed = true
		}
	}
	return changed
}
