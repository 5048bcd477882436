package glance

import (
	"context"
	"net/http"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/importer"
	"github.com/atoll-dcn/atoll/hub/internal/session"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Importer brings data in. It is *importer.Importer.
type Importer interface {
	// Store begins an import and returns once all bytes of body are safe at the hub. An error has undone the import.
	Store(ctx context.Context, in catalog.Import, body importer.Body) (*storev1.Operation, error)
	// Stage is Store into the staging area only.
	Stage(ctx context.Context, in catalog.Import, body importer.Body) (*storev1.Operation, error)
	// Enqueue begins an import whose source is asked later; open is nil for the URI of the import. It does not wait.
	Enqueue(ctx context.Context, in catalog.Import, open importer.Open) (*storev1.Operation, error)
	// ImportStaged begins an import of data that was staged before. It does not wait.
	ImportStaged(ctx context.Context, in catalog.Import) (*storev1.Operation, error)
	// Progress returns how far a running import is.
	Progress(op image.ID) importer.Progress
}

// Chunks reads complete contents.
type Chunks interface {
	// ReadChunk returns a chunk in buf, which holds a whole one. It blocks while the chunk is fetched from a site.
	ReadChunk(ctx context.Context, content image.ID, index int, buf []byte) ([]byte, error)
}

// Sources decides which store sends what the hub lacks of a content. It is *reconcile.Needs.
type Sources interface {
	// Prefer makes a store that holds a copy the one that sends, until release is called. It does not block.
	Prefer(content image.ID, site image.SiteID, store image.StoreID) (release func())
}

// Directory knows how sites and stores are now, from memory. It is *session.Directory.
type Directory interface {
	Site(id image.SiteID) session.Site
	Store(id image.SiteID, store image.StoreID) session.Store
	Transfer(id image.SiteID, img image.ID, store image.StoreID) (session.Transfer, bool)
}

// Regions finds services in other regions. It is *keystone.Verifier.
type Regions interface {
	// Endpoint returns the URL of a type of service in a region as the service catalog of the token's owner says; iface is
	// "public", "internal" or "admin". NotFound when the catalog has none. It may block on the network until ctx ends.
	Endpoint(ctx context.Context, token, service, iface, region string) (string, error)
}

// dataRoutes adds what moves data, and what tells how far that is.
func (s *Server) dataRoutes(rt *imageapi.Router) {
	rt.Handle(http.MethodPut, "/v2/images/{id}/file", s.putFile)
	rt.Handle(http.MethodPut, "/v2/images/{id}/stage", s.stage)
	rt.Handle(http.MethodPost, "/v2/images/{id}/import", s.importImage)
	rt.Handle(http.MethodDelete, "/v2/images/{id}", s.deleteImage)
	rt.Handle(http.MethodGet, "/v2/images/{id}/replicas", s.listReplicas)
	rt.Handle(http.MethodGet, "/v2/images/{id}/tasks", s.imageTasks)
	rt.Handle(http.MethodGet, "/v2/images/{id}/locations", s.listLocations)
	rt.Handle(http.MethodPost, "/v2/images/{id}/locations", s.addLocation)
	rt.Handle(http.MethodDelete, "/v2/stores/{store}/{id}", s.deleteFromStore)
	rt.Handle(http.MethodGet, "/v2/info/import", s.importInfo)
	rt.Handle(http.MethodGet, "/v2/info/usage", s.usage)
	rt.Handle(http.MethodPost, "/v2/tasks", s.createTask)
	rt.Handle(http.MethodGet, "/v2/tasks", s.listTasks)
	rt.Handle(http.MethodGet, "/v2/tasks/{task}", s.showTask)
}
