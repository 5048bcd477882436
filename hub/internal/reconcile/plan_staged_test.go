package reconcile

import (
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

const uploadingImage = storev1.ImageStatus_IMAGE_STATUS_UPLOADING

// staged returns a simulation with an image whose data waits in the staging area.
func staged(t *testing.T) (*sim, image.ID) {
	t.Helper()
	s := newSim(t)
	id := s.createImage(t)
	op, err := s.catalog.BeginStage(t.Context(), catalog.Import{Image: id, Content: image.NewID()})
	if err != nil {
		t.Fatal(err)
	}
	s.settle()
	if err := s.arrive(op); err != nil {
		t.Fatal(err)
	}
	s.settle()
	s.wantStatus(t, id, uploadingImage)
	return s, id
}

func (s *sim) wantStatus(t *testing.T, id image.ID, want storev1.ImageStatus) *storev1.Image {
	t.Helper()
	img, _ := s.records.Image(id)
	if img.GetStatus() != want {
		t.Fatalf("the image is %s, want %s: %v", img.GetStatus(), want, img)
	}
	return img
}

func (s *sim) importStaged(t *testing.T, id image.ID, stores ...string) *storev1.Operation {
	t.Helper()
	op, err := s.catalog.BeginImport(t.Context(), catalog.Import{
		Image: id, FromStaged: true, Target: catalog.Target{Stores: stores, AllMustSucceed: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	return op
}

// A failed import of staged data can be repeated: the original leaves such an image importing for ever.
func TestStagedImportCanBeRetried(t *testing.T) {
	t.Parallel()
	s, id := staged(t)
	op := s.importStaged(t, id, "dcn0")
	s.plan(id)
	s.agent("dcn0", id, "NO_SPACE")
	s.plan(id)
	s.settle()
	if o, _ := s.records.Operation(image.ID(op.Id)); o.State != failed || o.Error.GetReason() != "NO_SPACE" {
		t.Fatalf("the import ended as %v", o)
	}
	img := s.wantStatus(t, id, uploadingImage)
	if !img.Content.GetComplete() || len(img.FailedStores) != 1 {
		t.Fatalf("got %v", img)
	}
	if left, _ := s.records.Replicas(id); len(left) > 0 {
		t.Fatalf("left: %v", left)
	}
	s.now = s.now.Add(time.Second)
	s.importStaged(t, id, "dcn0")
	s.settle()
	if img := s.wantStatus(t, id, activeImage); img.Staged || len(img.FailedStores) > 0 {
		t.Fatalf("got %v", img)
	}
}

func TestStageThatFails(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*sim, image.ID) error{
		"source fails": func(s *sim, op image.ID) error {
			return s.catalog.FailSource(t.Context(), op, &storev1.OperationError{Reason: "GONE"})
		},
		"cancelled": func(s *sim, op image.ID) error { return s.catalog.Cancel(t.Context(), op) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSim(t)
			id := s.createImage(t)
			op, err := s.catalog.BeginStage(t.Context(), catalog.Import{Image: id, Content: image.NewID()})
			if err != nil {
				t.Fatal(err)
			}
			if err := end(s, image.ID(op.Id)); err != nil {
				t.Fatal(err)
			}
			s.settle()
			if img := s.wantStatus(t, id, queuedImage); img.Content != nil || img.Staged {
				t.Fatalf("got %v", img)
			}
			if o, _ := s.records.Operation(image.ID(op.Id)); o.State == running {
				t.Fatal("the stage never ends")
			}
		})
	}
}

func TestStagedDataExpires(t *testing.T) {
	t.Parallel()
	s, id := staged(t)
	s.now = s.now.Add(DefaultSettings().StagedTimeout - time.Second)
	s.settle()
	s.wantStatus(t, id, uploadingImage)
	s.now = s.now.Add(2 * time.Second)
	s.settle()
	s.wantStatus(t, id, queuedImage)
}

// Staged data that is being converted is there again when that fails, and as long as it is read no frame of it may go.
func TestStagedConversionCanBeRetried(t *testing.T) {
	t.Parallel()
	s, id := staged(t)
	before := s.wantStatus(t, id, uploadingImage).Content.Id
	begin := func() *storev1.Operation {
		op, err := s.catalog.BeginImport(t.Context(), catalog.Import{
			Image: id, FromStaged: true, Content: image.NewID(), Target: catalog.Target{Stores: []string{"dcn0"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		s.plan(id)
		return op
	}
	op := begin()
	img := s.wantStatus(t, id, importingImage)
	if n := needOf(Aggregate{Image: img}, World{}); string(n.content) != op.Source.ContentId || string(n.incoming) != before {
		t.Fatalf("got %+v", n)
	}
	if img.Incoming.Id != before || img.Content.Complete || op.Source.Complete {
		t.Fatalf("got %v, %v", img, op)
	}
	if err := s.catalog.FailSource(t.Context(), image.ID(op.Id), &storev1.OperationError{Reason: "IMAGE_DAMAGED"}); err != nil {
		t.Fatal(err)
	}
	s.settle()
	img = s.wantStatus(t, id, uploadingImage)
	if img.Content.Id != before || img.Incoming != nil || !img.Staged {
		t.Fatalf("got %v", img)
	}
	if err := s.arrive(begin()); err != nil {
		t.Fatal(err)
	}
	s.settle()
	if img = s.wantStatus(t, id, activeImage); img.Incoming != nil || img.Staged {
		t.Fatalf("got %v", img)
	}
}
