package catalog_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// nowhere is a staging area that holds nothing.
func nowhere(image.ID) bool { return false }

func TestRecover(t *testing.T) {
	t.Parallel()
	const (
		queued    = storev1.ImageStatus_IMAGE_STATUS_QUEUED
		importing = storev1.ImageStatus_IMAGE_STATUS_IMPORTING
		failed    = storev1.OperationState_OPERATION_STATE_FAILED
		none      = storev1.OperationState_OPERATION_STATE_UNSPECIFIED
	)
	all := catalog.Target{All: true}
	for name, c := range map[string]struct {
		in      catalog.Import
		stage   bool // the data is staged first
		only    bool // and not imported
		status  storev1.ImageStatus
		undoing storev1.OperationState
		reason  string
		failed  bool // the stores have failed
	}{
		"staged":               {stage: true, only: true, status: queued, reason: "STAGED_LOST"},
		"import of staged":     {stage: true, status: importing, undoing: failed, reason: "STAGED_LOST", failed: true},
		"conversion of staged": {stage: true, in: catalog.Import{Content: image.NewID()}, status: importing, undoing: failed, reason: "STAGED_LOST", failed: true},
		"download":             {in: catalog.Import{URI: "http://example.org/x", Content: image.NewID()}, status: importing, undoing: none},
		"secret download": {
			in:     catalog.Import{URI: "http://example.org/x", Secret: true, Content: image.NewID()},
			status: importing, undoing: failed, reason: "IMPORT_INTERRUPTED", failed: true,
		},
		"from another region": {
			in:     catalog.Import{Method: "glance-download", Content: image.NewID()},
			status: importing, undoing: failed, reason: "IMPORT_INTERRUPTED", failed: true,
		},
		"upload": {in: catalog.Import{Content: image.NewID()}, status: importing, undoing: failed, reason: "UPLOAD_INTERRUPTED"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c.in.Image, c.in.Target = w.queued(), all
			var op *storev1.Operation
			var err error
			if c.stage {
				staged := image.NewID()
				op, err = w.BeginStage(t.Context(), catalog.Import{Image: c.in.Image, Content: staged})
				w.complete(t, op, err)
				c.in.FromStaged = true
			}
			if !c.only {
				op, err = w.BeginImport(t.Context(), c.in)
				if err != nil {
					t.Fatal(err)
				}
				if !op.Source.Complete && !c.stage {
					w.complete(t, op, nil)
				}
			}
			if n, err := w.Recover(t.Context(), func(image.ID) bool { return true }); n != 0 || err != nil {
				t.Fatalf("an area that has everything: %d, %v", n, err)
			}
			if n, err := w.Recover(t.Context(), nowhere); n != 1 || err != nil {
				t.Fatalf("got %d, %v", n, err)
			}
			img, _ := w.records.Image(c.in.Image)
			op, _ = w.records.Operation(image.ID(op.Id))
			if img.Status != c.status || img.Staged || img.Content.GetComplete() || img.Incoming != nil || img.Origin != nil || len(img.FailedStores) > 0 != c.failed {
				t.Errorf("image %v", img)
			}
			if op.Undoing != c.undoing || op.GetError().GetReason() != c.reason || c.only && op.State != failed {
				t.Errorf("operation %v", op)
			}
			if again := catalog.Importing(op); again != (c.reason == "") {
				t.Errorf("runs again: %t", again)
			}
			if c.in.URI != "" && img.DiskFormat != "qcow2" {
				t.Errorf("the data will come as %s, not as it came before", img.DiskFormat)
			}
			before := proto.CloneOf(img)
			if n, err := w.Recover(t.Context(), nowhere); n != 0 || err != nil {
				t.Fatalf("a second time: %d, %v", n, err)
			}
			if after, _ := w.records.Image(c.in.Image); !proto.Equal(before, after) {
				t.Errorf("a second time it was changed: %v", after)
			}
		})
	}
}

// complete says that all data of an operation has come, as the raw form of a qcow2 disk.
func (w *world) complete(t *testing.T, op *storev1.Operation, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	err = w.CompleteSource(t.Context(), image.ID(op.Id), catalog.Arrived{
		Content:    &storev1.Content{Id: op.Source.ContentId, Complete: true, SizeBytes: 1},
		DiskFormat: "raw", Origin: &storev1.Origin{DiskFormat: "qcow2", ContainerFormat: "bare"},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestRecoverKeepsWhatStoresHold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.active(map[image.StoreID]storev1.ReplicaPhase{"central": storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE})
	w.change(id, func(img *storev1.Image) { img.Status = storev1.ImageStatus_IMAGE_STATUS_IMPORTING })
	if n, err := w.Recover(t.Context(), nowhere); n != 0 || err != nil {
		t.Fatalf("got %d, %v", n, err)
	}
	w.change(id, func(img *storev1.Image) { img.Status = storev1.ImageStatus_IMAGE_STATUS_ACTIVE })
	if n, err := w.Recover(t.Context(), nowhere); n != 0 || err != nil {
		t.Fatalf("got %d, %v", n, err)
	}
}
