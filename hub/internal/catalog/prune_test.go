package catalog

import (
	"context"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// history is a store that holds only operations.
type history struct {
	Records
	ops     map[string]*storev1.Operation
	order   []string // newest first
	largest int
	done    func()
}

func (h *history) Operations() []*storev1.Operation {
	var out []*storev1.Operation
	for _, id := range h.order {
		if o := h.ops[id]; o != nil {
			out = append(out, o)
		}
	}
	return out
}

func (h *history) Operation(id image.ID) (*storev1.Operation, int64) { return h.ops[string(id)], 1 }

func (h *history) Commit(_ context.Context, writes ...Write) error {
	h.largest = max(h.largest, len(writes))
	for _, w := range writes {
		delete(h.ops, w.Key.ID)
	}
	if h.done != nil {
		h.done()
	}
	return nil
}

func (h *history) add(state storev1.OperationState, end time.Time) string {
	id := string(image.NewID())
	h.ops[id] = &storev1.Operation{Id: id, State: state, EndTime: Stamp(end)}
	h.order = append(h.order, id)
	return id
}

func TestPruneByAge(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	h := &history{ops: map[string]*storev1.Operation{}}
	young := h.add(storev1.OperationState_OPERATION_STATE_FAILED, now.Add(-keepOperations+time.Second))
	for range 2*MaxWrites + 1 {
		h.add(storev1.OperationState_OPERATION_STATE_SUCCEEDED, now.Add(-keepOperations))
	}
	running := h.add(storev1.OperationState_OPERATION_STATE_RUNNING, time.Time{})
	ctx, cancel := context.WithCancel(t.Context())
	h.done = func() {
		if len(h.ops) == 2 {
			cancel()
		}
	}
	if err := Prune(ctx, h, hclog.NewNullLogger(), func() time.Time { return now }); err != nil {
		t.Fatal(err)
	}
	if len(h.ops) != 2 || h.ops[young] == nil || h.ops[running] == nil || h.largest > MaxWrites {
		t.Fatalf("%d operations left, largest commit %d", len(h.ops), h.largest)
	}
}

func TestPruneByNumber(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	h := &history{ops: map[string]*storev1.Operation{}}
	newest := h.add(storev1.OperationState_OPERATION_STATE_SUCCEEDED, now)
	for range mostOperations {
		h.add(storev1.OperationState_OPERATION_STATE_SUCCEEDED, now)
	}
	oldest := h.order[mostOperations]
	if n, err := pruneOnce(t.Context(), h, now); n != 1 || err != nil || h.ops[oldest] != nil || h.ops[newest] == nil {
		t.Fatalf("%d removed, %v", n, err)
	}
}
