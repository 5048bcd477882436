package glance

import (
	"context"
	"io"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Importer brings data in.
type Importer interface {
	// Upload reads the data of an import from next until io.EOF and returns the operation once all bytes are safe.
	Upload(ctx context.Context, in catalog.Import, next func() ([]byte, error)) (*storev1.Operation, error)
	// Fetch starts fetching the data of an import from its URI.
	Fetch(ctx context.Context, in catalog.Import) (*storev1.Operation, error)
}

// Chunks reads complete contents.
type Chunks interface {
	// ReadChunk returns a chunk in buf, which holds a whole one. It blocks while the chunk is fetched from a site.
	ReadChunk(ctx context.Context, content image.ID, index int, buf []byte) ([]byte, error)
}

// Directory knows how the stores are.
type Directory interface {
	// Connected reports whether the agent of a site is connected.
	Connected(site image.SiteID) bool
}

// dataRoutes adds what moves data.
func (s *Server) dataRoutes(_ *imageapi.Router) {}

// storeList returns what the API shows of the stores.
func (s *Server) storeList() []imageapi.Store { return nil }

// Open reads the bytes [offset, offset+length) of an image.
func (s *Server) Open(_ context.Context, _ *imageapi.Image, _ []string, _, _ int64) (io.ReadCloser, error) {
	return nil, fault.New(fault.Unavailable, "NO_COPY", "no copy can be read now")
}

// AddLocation takes over the copy that a URL names.
func (s *Server) AddLocation(_ context.Context, _ image.ID, _ string, _ *storev1.Expected) error {
	return fault.New(fault.Denied, "NO_ADOPTION", "locations cannot be added")
}

// RemoveLocation removes the copy in a store.
func (s *Server) RemoveLocation(ctx context.Context, id image.ID, store image.StoreID) error {
	_, err := s.Catalog.DeleteReplica(ctx, id, store)
	return err
}
