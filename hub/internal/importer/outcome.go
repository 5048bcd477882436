package importer

import (
	"context"
	"time"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/retry"
	"github.com/atoll-dcn/atoll/pkg/rpc"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

const (
	// recordTimeout bounds the record that all data is safe. The caller waits for it.
	recordTimeout = 30 * time.Second
	// endTimeout bounds the first attempt to record that an import failed; Run goes on with it.
	endTimeout = 5 * time.Second
	// lostBacklog is how many ends of imports wait for a store of records that is away. Those beyond are found again when
	// the hub starts anew.
	lostBacklog = 10_000
)

// outcome is the end of an import whose data will not come.
type outcome struct {
	op  image.ID
	err error
}

// again says how often the store of records is asked again.
var again = retry.Policy{Initial: 100 * time.Millisecond, Max: 10 * time.Second}

// complete records that all bytes are safe. It asks again while the store of records is away: the bytes are too dear to
// be given up for a moment's silence. Whether an attempt was carried out whose answer got lost is seen in the records.
func (im *Importer) complete(ctx context.Context, s source, arrived catalog.Arrived) error {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	err := retry.Do(ctx, again, func(ctx context.Context) error {
		return im.Catalog.CompleteSource(ctx, s.op, arrived)
	}, nil)
	if err == nil || im.recorded(s) {
		if s.staged != "" {
			im.Area.Forget(s.staged) // no record names it any more
		}
		return nil
	}
	if fault.Is(err, fault.Precondition) {
		im.Area.Forget(s.content)
	} // else the record may say complete in spite of the error: a content that no image names goes by itself
	return err
}

// recorded reports whether the records say that the content is complete.
func (im *Importer) recorded(s source) bool {
	o, _ := im.Catalog.Read().Operation(s.op)
	return o.GetSource().GetComplete() && o.Source.ContentId == string(s.content)
}

// settle records that an import has failed. What cannot be recorded now is left to Run. It blocks for endTimeout at most.
func (im *Importer) settle(ctx context.Context, o outcome) {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	err := im.Catalog.FailSource(ctx, o.op, operationError(o.err))
	if err == nil || fault.Is(err, fault.Precondition) {
		return
	}
	im.Log.Warn("failed import not recorded yet", "operation", string(o.op), "error", err)
	im.settleLater(o)
}

// settleLater hands an outcome to Run. It does not block.
func (im *Importer) settleLater(o outcome) {
	select {
	case im.lost <- o:
	default:
		im.Log.Error("failed import not recorded; the next start of the hub will do it", "operation", string(o.op))
	}
}

// settleLost records outcomes until ctx ends. It goes on for as long as the store of records is away: an operation whose
// data will never come must not stay running.
func (im *Importer) settleLost(ctx context.Context) {
	wait := again.Backoff()
	for {
		select {
		case <-ctx.Done():
			return
		case o := <-im.lost:
			err := im.Catalog.FailSource(ctx, o.op, operationError(o.err))
			if err == nil || fault.Is(err, fault.Precondition) {
				wait.Reset()
				continue
			}
			im.settleLater(o)
			if wait.Wait(ctx) != nil {
				return
			}
		}
	}
}

// operationError is the record of an error.
func operationError(err error) *storev1.OperationError {
	return &storev1.OperationError{Code: int32(rpc.Code(fault.ClassOf(err))), Reason: fault.ReasonOf(err), Message: fault.Public(err)}
}
