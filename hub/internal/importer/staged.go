package importer

import (
	"context"
	"io"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/staging"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// ImportStaged begins an import of data that was staged before. When it is stored as it is, no byte is moved. Otherwise it
// is read like that of any other source when it is the turn of the import; should that fail the data is still there.
// Errors: those of catalog.BeginImport, STAGED_LOST, FETCH_QUEUE_FULL, and about the signature.
func (im *Importer) ImportStaged(ctx context.Context, in catalog.Import) (*storev1.Operation, error) {
	in.FromStaged = true
	if err := im.Catalog.CheckImport(in); err != nil {
		return nil, err
	}
	t, check, err := im.admit(ctx, &in)
	if err != nil {
		return nil, err
	}
	head, err := im.stagedHead(ctx, in.Image)
	if err != nil {
		return nil, err
	}
	if img, _ := im.Catalog.Read().Image(in.Image); img.GetOrigin() != nil && img.Signature != nil {
		check = nil // an import that failed later has verified the signature, which is of the data before it was converted
	}
	// What is compressed has not been looked at yet.
	packed := im.treatmentOf(in.Image).compression(head) != ""
	if check == nil && !packed && !t.converts(head, len(head) < headSize) {
		return im.Catalog.BeginImport(ctx, in)
	}
	in.Content = image.NewID() // until it is the turn of the import
	return im.enqueue(ctx, in, job{prepared: true, signature: check})
}

// treatmentOf returns what an import would do with the data of an image unless told to keep it.
func (im *Importer) treatmentOf(id image.ID) treatment {
	img, _ := im.Catalog.Read().Image(id)
	return im.treatment(img, false)
}

// stagedHead returns the first bytes of the data that was staged for an image, headSize at most.
func (im *Importer) stagedHead(ctx context.Context, id image.ID) ([]byte, error) {
	img, _ := im.Catalog.Read().Image(id)
	content := image.ID(img.GetContent().GetId())
	if !im.Area.Has(content) {
		return nil, errStagedLost()
	}
	r := im.Area.LocalReader(ctx, content)
	defer func() { _ = r.Close() }()
	head := make([]byte, headSize)
	n, err := r.ReadAt(head, 0)
	if err != nil && err != io.EOF { //nolint:errorlint // only the end itself
		return nil, err
	}
	return head[:n], nil
}

func errStagedLost() error {
	return fault.New(fault.Precondition, catalog.ReasonStagedLost, "the staged data is not there any more; stage the image again")
}

// findStaged makes the data that was staged for an image the source.
func (im *Importer) findStaged(s *source, img *storev1.Image) error {
	s.staged = image.ID(img.GetIncoming().GetId())
	if !im.Area.Has(s.staged) {
		return errStagedLost()
	}
	s.size = img.GetIncoming().GetSizeBytes()
	return nil
}

// inOrder reads a content from its beginning to its end.
type inOrder struct {
	r  *staging.Reader
	at int64
}

// Read returns io.EOF after the last byte.
func (o *inOrder) Read(p []byte) (int, error) {
	n, err := o.r.ReadAt(p, o.at)
	o.at += int64(n)
	if n > 0 && err == io.EOF { //nolint:errorlint // it comes again
		err = nil
	}
	return n, err
}

func (o *inOrder) close() {
	if o.r != nil {
		_ = o.r.Close()
	}
}
