package catalog_test

import (
	"slices"
	"testing"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

func TestImportTarget(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		target catalog.Target
		stores []string
		field  string
	}{
		"one store, central added": {target: catalog.Target{Stores: []string{"dcn1"}}, stores: []string{"central", "dcn1"}},
		"sorted, without repeats":  {target: catalog.Target{Stores: []string{"dcn1", "central", "dcn0", "dcn1"}}, stores: []string{"central", "dcn0", "dcn1"}},
		"all stores":               {target: catalog.Target{All: true}, stores: []string{"central", "dcn0", "dcn1"}},
		"all and some":             {target: catalog.Target{All: true, Stores: []string{"dcn0"}}, field: "target.stores"},
		"none":                     {target: catalog.Target{Stores: []string{}}, field: "target.stores"},
		"unknown store":            {target: catalog.Target{Stores: []string{"dcn0", "nowhere"}}, field: "target.stores[1]"},
		"not a store id":           {target: catalog.Target{Stores: []string{"../etc"}}, field: "target.stores[0]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			in := catalog.Import{Image: w.queued(), Target: c.target, Content: image.NewID()}
			checked := w.CheckImport(in)
			op, err := w.BeginImport(t.Context(), in)
			if c.field != "" {
				wantField(t, checked, c.field)
				wantField(t, err, c.field)
				if img, _ := w.records.Image(in.Image); img.Status != storev1.ImageStatus_IMAGE_STATUS_QUEUED {
					t.Fatalf("a refused import left the image %s", img.Status)
				}
				return
			}
			if checked != nil || err != nil || !slices.Equal(storesOf(op), c.stores) {
				t.Fatalf("got %v, %v, %v", op, checked, err)
			}
			img, _ := w.records.Image(in.Image)
			if img.Status != storev1.ImageStatus_IMAGE_STATUS_IMPORTING || img.Content.Id != string(in.Content) {
				t.Fatalf("got %v", img)
			}
		})
	}
}

func TestImportWithoutStores(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t)
	in := catalog.Import{Image: w.queued(), Target: catalog.Target{All: true}}
	wantFault(t, w.CheckImport(in), fault.Precondition, "NO_STORES")
	w.register("dcn0")
	wantFault(t, w.CheckImport(in), fault.Precondition, "NO_CENTRAL_STORE")
	w.register("central")
	if err := w.CheckImport(in); err != nil {
		t.Fatal(err)
	}
}

func TestImportNeedsQueuedImage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in := catalog.Import{Image: w.queued(), Target: catalog.Target{All: true}, Content: image.NewID()}
	// Of two imports at the same moment one wins and the other learns why it lost.
	w.records.RaceNext(func() {
		if _, err := w.BeginImport(t.Context(), catalog.Import{Image: in.Image, Target: in.Target, Content: image.NewID()}); err != nil {
			t.Error(err)
		}
	})
	_, err := w.BeginImport(t.Context(), in)
	wantFault(t, err, fault.Precondition, "NOT_QUEUED")
	if n := len(w.records.Operations()); n != 1 {
		t.Fatalf("%d operations", n)
	}
	in.Image = image.NewID()
	wantFault(t, w.CheckImport(in), fault.NotFound, "IMAGE_NOT_FOUND")
}

func TestImportSource(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, first, second := w.queued(), image.NewID(), image.NewID()
	op, err := w.BeginImport(t.Context(), catalog.Import{Image: id, Target: catalog.Target{All: true, AllMustSucceed: true}, Content: first, URI: "http://x/"})
	if err != nil {
		t.Fatal(err)
	}
	key := image.ID(op.Id)
	if err := w.SetSizeHint(t.Context(), key, 100); err != nil {
		t.Fatal(err)
	}
	if err := w.RestartImport(t.Context(), key, second, ""); err != nil {
		t.Fatal(err)
	}
	img, _ := w.records.Image(id)
	if now, _ := w.records.Operation(key); img.Content.Id != string(second) || now.Source.ContentId != string(second) || img.Content.SizeBytes != 100 {
		t.Fatalf("after the restart: %v", img)
	}
	if !img.PublishTogether {
		t.Fatal("copies would be published one by one")
	}
	if err := w.CompleteSource(t.Context(), key, catalog.Arrived{Content: &storev1.Content{Id: string(second), Complete: true, SizeBytes: 90}}); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"complete": w.CompleteSource(t.Context(), key, catalog.Arrived{Content: &storev1.Content{Id: string(second)}}),
		"fail":     w.FailSource(t.Context(), key, &storev1.OperationError{}),
		"restart":  w.RestartImport(t.Context(), key, image.NewID(), ""),
		"unknown":  w.CompleteSource(t.Context(), image.NewID(), catalog.Arrived{Content: &storev1.Content{}}),
	} {
		t.Log(name)
		wantFault(t, err, fault.Precondition, "IMPORT_ENDED")
	}
}

func TestCancelledImportTakesNoData(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	content := image.NewID()
	op, err := w.BeginImport(t.Context(), catalog.Import{Image: w.queued(), Target: catalog.Target{All: true}, Content: content})
	if err != nil {
		t.Fatal(err)
	}
	// The cancel arrives just when the last byte does.
	w.records.RaceNext(func() {
		if err := w.Cancel(t.Context(), image.ID(op.Id)); err != nil {
			t.Error(err)
		}
	})
	err = w.CompleteSource(t.Context(), image.ID(op.Id), catalog.Arrived{Content: &storev1.Content{Id: string(content), Complete: true}})
	wantFault(t, err, fault.Precondition, "IMPORT_ENDED")
	if err := w.Cancel(t.Context(), image.ID(op.Id)); err != nil {
		t.Fatalf("a second cancel: %v", err)
	}
	now, _ := w.records.Operation(image.ID(op.Id))
	if catalog.Importing(now) || now.Undoing != storev1.OperationState_OPERATION_STATE_CANCELLED {
		t.Fatalf("got %v", now)
	}
}
