package glance

import (
	"testing"

	"github.com/atoll-dcn/atoll/hub/internal/importer"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// busy is an importer that does other imports first.
type busy struct{ Importer }

func (busy) Progress(image.ID) importer.Progress {
	return importer.Progress{Phase: importer.PhaseQueued}
}

// Staged data that is converted waits for its turn like a download, and says so; its record names a content from the start.
func TestQueuedImportOfStagedData(t *testing.T) {
	t.Parallel()
	s := &Server{Config: Config{Importer: busy{}}}
	got := s.sourceMessage(&storev1.Operation{Source: &storev1.Source{Staged: true, ContentId: string(image.NewID())}})
	if got != "waits for its turn" {
		t.Errorf("got %q", got)
	}
}
