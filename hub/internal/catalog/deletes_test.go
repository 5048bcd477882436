package catalog_test

import (
	"slices"
	"testing"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

func TestDeleteImage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.active(phases{"central": active, "dcn0": pending})
	w.change(id, func(img *storev1.Image) { img.Protected = true })
	_, err := w.DeleteImage(t.Context(), id)
	wantFault(t, err, fault.Precondition, "PROTECTED")
	w.change(id, func(img *storev1.Image) { img.Protected = false })
	op, err := w.DeleteImage(t.Context(), id)
	if err != nil || !slices.Equal(storesOf(op), []string{"central", "dcn0"}) {
		t.Fatalf("got %v, %v", op, err)
	}
	img, _ := w.records.Image(id)
	if img.Status != storev1.ImageStatus_IMAGE_STATUS_DELETING || img.StatusBeforeDelete != storev1.ImageStatus_IMAGE_STATUS_ACTIVE {
		t.Fatalf("got %v", img)
	}
	again, err := w.DeleteImage(t.Context(), id)
	if err != nil || again.Id != op.Id {
		t.Fatalf("a second delete does not join the first: %v, %v", again, err)
	}
	w.change(id, func(img *storev1.Image) { img.Status = storev1.ImageStatus_IMAGE_STATUS_DELETED })
	_, err = w.DeleteImage(t.Context(), id)
	wantFault(t, err, fault.NotFound, "IMAGE_NOT_FOUND")
}

// An image without data is gone at once, unless an import has begun at the same moment.
func TestDeleteOfAnEmptyImage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.queued()
	op, err := w.DeleteImage(t.Context(), id)
	if err != nil || op.State != storev1.OperationState_OPERATION_STATE_SUCCEEDED || op.EndTime == nil || len(op.Stores) > 0 {
		t.Fatalf("got %v, %v", op, err)
	}
	if img, _ := w.records.Image(id); img != nil {
		t.Fatalf("left %v", img)
	}
	if kept, _ := w.records.Operation(image.ID(op.Id)); kept == nil {
		t.Fatal("the delete is not remembered")
	}

	id = w.queued()
	w.change(id, func(img *storev1.Image) { img.Protected = true })
	_, err = w.DeleteImage(t.Context(), id)
	wantFault(t, err, fault.Precondition, "PROTECTED")
	w.change(id, func(img *storev1.Image) { img.Protected = false })
	w.records.RaceNext(func() {
		if _, err := w.BeginImport(t.Context(), catalog.Import{Image: id, Target: catalog.Target{All: true}, Content: image.NewID()}); err != nil {
			t.Error(err)
		}
	})
	if op, err = w.DeleteImage(t.Context(), id); err != nil || op.State != storev1.OperationState_OPERATION_STATE_RUNNING {
		t.Fatalf("got %v, %v", op, err)
	}
	if img, _ := w.records.Image(id); img.GetStatus() != storev1.ImageStatus_IMAGE_STATUS_DELETING {
		t.Fatalf("got %v", img)
	}
}

func TestDeleteReplica(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.active(phases{"central": active, "dcn0": active, "dcn1": pending})
	_, err := w.DeleteReplica(t.Context(), id, "nowhere")
	wantFault(t, err, fault.NotFound, "REPLICA_NOT_FOUND")
	if _, err := w.DeleteReplica(t.Context(), id, "dcn0"); err != nil {
		t.Fatal(err)
	}
	r, _ := w.records.Replica(id, "dcn0")
	if r.Phase != deleting || r.Removal != storev1.Removal_REMOVAL_CHECKING || r.PhaseBeforeRemoval != active || r.Generation <= 7 {
		t.Fatalf("got %v", r)
	}
	_, err = w.DeleteReplica(t.Context(), id, "dcn0")
	wantFault(t, err, fault.Precondition, "BEING_DELETED")
	// Neither a copy that is leaving nor one that is being written can stand in for the last one.
	_, err = w.DeleteReplica(t.Context(), id, "central")
	wantFault(t, err, fault.Precondition, "LAST_COPY")
	if _, err := w.DeleteReplica(t.Context(), id, "dcn1"); err != nil {
		t.Fatalf("cancelling a write: %v", err)
	}
}

// Two deletes that each see the other's copy must not both go through.
func TestDeleteLastTwoCopies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.active(phases{"central": active, "dcn0": active})
	w.records.RaceNext(func() {
		if _, err := w.DeleteReplica(t.Context(), id, "central"); err != nil {
			t.Error(err)
		}
	})
	_, err := w.DeleteReplica(t.Context(), id, "dcn0")
	wantFault(t, err, fault.Precondition, "LAST_COPY")
	if r, _ := w.records.Replica(id, "dcn0"); r.Phase != active {
		t.Fatalf("got %v", r)
	}
}
