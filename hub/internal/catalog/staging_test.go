package catalog_test

import (
	"testing"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

func TestStageThenImport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := auth.With(t.Context(), &auth.Caller{UserID: "u", ProjectID: "p", RequestID: "req-1"})
	id, content := w.queued(), image.NewID()
	staged := catalog.Import{Image: id, Target: catalog.Target{Stores: []string{"dcn0"}}, FromStaged: true, Method: "glance-direct"}
	_, err := w.BeginImport(ctx, staged)
	wantFault(t, err, fault.Precondition, "NOT_STAGED")
	op, err := w.BeginStage(ctx, catalog.Import{Image: id, Content: content})
	if err != nil || op.Requester.GetUserId() != "u" || op.Requester.GetProjectId() != "p" || op.Requester.GetRequestId() != "req-1" {
		t.Fatalf("got %v, %v", op, err)
	}
	_, err = w.BeginStage(ctx, catalog.Import{Image: id, Content: image.NewID()})
	wantFault(t, err, fault.Precondition, "NOT_QUEUED")
	_, err = w.BeginImport(ctx, staged) // the data is still arriving
	wantFault(t, err, fault.Precondition, "NOT_STAGED")
	if err := w.CompleteSource(ctx, image.ID(op.Id), catalog.Arrived{Content: &storev1.Content{Id: string(content), Complete: true, SizeBytes: 5}}); err != nil {
		t.Fatal(err)
	}
	if done, _ := w.records.Operation(image.ID(op.Id)); done.State != storev1.OperationState_OPERATION_STATE_SUCCEEDED {
		t.Fatalf("the stage ends as %v", done)
	}
	imp, err := w.BeginImport(ctx, staged)
	if err != nil || !imp.Source.Complete || imp.Source.ContentId != string(content) || catalog.Importing(imp) {
		t.Fatalf("got %v, %v", imp, err)
	}
	if img, _ := w.records.Image(id); img.Status != storev1.ImageStatus_IMAGE_STATUS_IMPORTING || img.Content.SizeBytes != 5 || !img.Staged {
		t.Fatalf("got %v", img)
	}
}

func TestProjectQuotas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Catalog = catalog.New(w.records, "central", catalog.Limits{ProjectBytes: 100, StagedBytes: 50, ImageSize: 90, ProjectImages: 2}, w.clock)
	id := w.queued()
	imp := func(size int64, stores ...string) error {
		_, err := w.BeginImport(t.Context(), catalog.Import{Image: id, Target: catalog.Target{Stores: stores}, Content: image.NewID(), SizeBytes: size})
		return err
	}
	wantFault(t, imp(91, "central"), fault.Exhausted, "IMAGE_TOO_LARGE")
	wantFault(t, imp(60, "dcn0"), fault.Exhausted, "PROJECT_QUOTA") // twice 60: central too
	_, err := w.BeginStage(t.Context(), catalog.Import{Image: id, Content: image.NewID(), SizeBytes: 51})
	wantFault(t, err, fault.Exhausted, "STAGING_QUOTA")
	w.queued()
	_, err = w.CreateImage(t.Context(), catalog.NewImage{})
	wantFault(t, err, fault.Exhausted, "IMAGE_QUOTA")
	if err := imp(50, "dcn0"); err != nil {
		t.Fatal(err)
	}
}

func TestPublish(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.active(map[image.StoreID]storev1.ReplicaPhase{
		"central": storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE, "dcn1": storev1.ReplicaPhase_REPLICA_PHASE_FAILED,
		"a": storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE, "b": storev1.ReplicaPhase_REPLICA_PHASE_DELETING,
	})
	op, err := w.Replicate(t.Context(), id, catalog.Target{Stores: []string{"dcn0"}}, "copy-image")
	if err != nil {
		t.Fatal(err)
	}
	img, _ := w.records.Image(id)
	p := w.Publish(img)
	if len(p.Stores) != 2 || p.Stores[0] != "a" || p.Locations[0].Store != "central" || p.Locations[1].Store != "a" ||
		len(p.Importing) != 1 || p.Importing[0] != "dcn0" || len(p.Failed) != 1 || p.Failed[0] != "dcn1" || p.Task != op.Id || p.Direct {
		t.Fatalf("got %+v", p)
	}
}
