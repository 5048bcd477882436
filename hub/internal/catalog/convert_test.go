package catalog_test

import (
	"maps"
	"testing"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// A disk that is converted while it comes has two contents until it is complete; then it is what it was made into.
func TestImportThatIsConverted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.queued()
	op, err := w.BeginImport(t.Context(), catalog.Import{
		Image: id, URI: "https://example.org/x", Target: catalog.Target{Stores: []string{"central"}}, SizeBytes: 10,
		Properties: map[string]string{"site": "hub"},
	})
	if err != nil {
		t.Fatal(err)
	}
	key, disk, incoming := image.ID(op.Id), image.NewID(), image.NewID()
	for _, err := range []error{
		w.RestartImport(t.Context(), key, disk, incoming),
		w.SetIncomingHint(t.Context(), key, 11),
		w.SetSizeHint(t.Context(), key, 100),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	img, _ := w.records.Image(id)
	if img.Content.Id != string(disk) || img.Content.SizeBytes != 100 || img.Incoming.Id != string(incoming) || img.Incoming.SizeBytes != 11 {
		t.Fatalf("while it comes: %v", img)
	}
	err = w.CompleteSource(t.Context(), key, catalog.Arrived{
		Content: &storev1.Content{Id: string(disk), Complete: true, SizeBytes: 100}, DiskFormat: "raw",
		Origin: &storev1.Origin{DiskFormat: "qcow2", SizeBytes: 11}, Signature: &storev1.Signature{KeyType: "RSA-PSS"},
		Properties: map[string]string{"os_distro": "debian", "site": "guessed"},
	})
	if err != nil {
		t.Fatal(err)
	}
	img, _ = w.records.Image(id)
	if img.DiskFormat != "raw" || img.Origin.GetDiskFormat() != "qcow2" || img.Signature.GetKeyType() != "RSA-PSS" || img.Incoming != nil ||
		!maps.Equal(img.Properties, map[string]string{"os_distro": "debian", "site": "hub"}) {
		t.Fatalf("got %v", img)
	}
	wantFault(t, w.SetHashes(t.Context(), id, incoming, "m", "s"), fault.Precondition, "CONTENT_CHANGED")
	if err := w.SetHashes(t.Context(), id, disk, "m", "s"); err != nil {
		t.Fatal(err)
	}
	if img, _ := w.records.Image(id); img.Content.Md5 != "m" || img.Content.Sha512 != "s" {
		t.Fatalf("got %v", img)
	}
}

// What is found in the data replaces nothing and stays within the limit.
func TestFoundProperties(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Catalog = catalog.New(w.records, "central", catalog.Limits{Properties: 1}, w.clock)
	id, content := w.queued(), image.NewID()
	op, err := w.BeginImport(t.Context(), catalog.Import{Image: id, Content: content, Target: catalog.Target{Stores: []string{"central"}}})
	if err != nil {
		t.Fatal(err)
	}
	err = w.CompleteSource(t.Context(), image.ID(op.Id), catalog.Arrived{
		Content: &storev1.Content{Id: string(content), Complete: true}, Properties: map[string]string{"a": "1", "b": "2"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if img, _ := w.records.Image(id); !maps.Equal(img.Properties, map[string]string{"a": "1"}) {
		t.Fatalf("got %v", img.Properties)
	}
}
