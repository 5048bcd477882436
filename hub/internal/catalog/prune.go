package catalog

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

const (
	keepOperations = 30 * 24 * time.Hour // how long done operations are kept
	mostOperations = 10_000              // and how many of them
	pruneEvery     = time.Hour
)

// Prune removes operations that were done long ago, until ctx ends; then it returns nil.
func Prune(ctx context.Context, records Records, log hclog.Logger, now func() time.Time) error {
	tick := time.NewTicker(pruneEvery)
	defer tick.Stop()
	for {
		if n, err := pruneOnce(ctx, records, now()); err != nil && !fault.Is(err, fault.Conflict) && ctx.Err() == nil {
			log.Warn("old operations not removed", "error", err)
		} else if n > 0 {
			log.Info("old operations removed", "count", n)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func pruneOnce(ctx context.Context, records Records, now time.Time) (int, error) {
	var writes []Write
	kept := 0
	for _, o := range records.Operations() { // newest first
		if o.State == storev1.OperationState_OPERATION_STATE_RUNNING {
			continue
		}
		if kept++; kept <= mostOperations && now.Sub(o.EndTime.AsTime()) < keepOperations {
			continue
		}
		_, rev := records.Operation(image.ID(o.Id))
		writes = append(writes, Write{Key: OperationKey(image.ID(o.Id)), Revision: rev})
	}
	for i := 0; i < len(writes); i += MaxWrites {
		if err := records.Commit(ctx, writes[i:min(i+MaxWrites, len(writes))]...); err != nil {
			return i, err
		}
	}
	return len(writes), nil
}
