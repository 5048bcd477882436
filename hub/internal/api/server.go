// Package api is the gRPC face of the hub: it checks the form of requests, asks the policy whether the caller may make
// them, calls the catalog and converts records into messages. It holds no rules of its own: what a caller may see and do is
// decided by the same code as in the Image API.
package api

import (
	"context"
	"time"

	"google.golang.org/grpc"

	"github.com/atoll-dcn/atoll/hub/internal/bandwidth"
	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/importer"
	"github.com/atoll-dcn/atoll/hub/internal/session"
	"github.com/atoll-dcn/atoll/pkg/berth"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Importer brings data in.
type Importer interface {
	// Upload reads the data of an import from next until io.EOF and returns the operation once all bytes are safe.
	Upload(ctx context.Context, in catalog.Import, next func() ([]byte, error)) (*storev1.Operation, error)
	// StageMessages is Upload into the staging area, where the data waits for an import.
	StageMessages(ctx context.Context, in catalog.Import, next func() ([]byte, error)) (*storev1.Operation, error)
	// Fetch starts fetching the data of an import from its URI.
	Fetch(ctx context.Context, in catalog.Import) (*storev1.Operation, error)
	// ImportStaged starts an import of data that was staged before.
	ImportStaged(ctx context.Context, in catalog.Import) (*storev1.Operation, error)
	// Progress returns how far a running import is.
	Progress(op image.ID) importer.Progress
}

// Chunks reads complete contents.
type Chunks interface {
	// ReadChunk returns a chunk in buf, which holds a whole one. It blocks while the chunk is fetched from a site.
	ReadChunk(ctx context.Context, content image.ID, index int, buf []byte) ([]byte, error)
}

// Identity gives agents their identity.
type Identity interface {
	CreateToken(ctx context.Context, site image.SiteID) (token string, expires time.Time, err error)
	Revoke(ctx context.Context, site image.SiteID) (int, error)
	LastRefusal(site image.SiteID) (reason string, at time.Time)
}

// Bandwidth says how fast image data may move between the hub and its sites.
type Bandwidth interface {
	// Status returns what applies to a site now.
	Status(site image.SiteID) bandwidth.Status
	// HubStatus returns what applies to all sites together now.
	HubStatus() bandwidth.Status
}

// Config is what the API needs.
type Config struct {
	Catalog *catalog.Catalog
	// Images shows the catalog's images to the policy; it is that of the Image API.
	Images imageapi.Source
	// Policy says what the caller of a request, see auth.From, may do. A request without a caller may do nothing.
	Policy    imageapi.Policy
	Directory *session.Directory
	Importer  Importer
	Chunks    Chunks
	Identity  Identity
	Bandwidth Bandwidth
	// HubLimits are the limits of all sites together as long as none are stored.
	HubLimits *storev1.HubLimits
	// EndSession closes the session of a site.
	EndSession func(image.SiteID, error)
	Now        func() time.Time
}

// Register adds all services to a gRPC server.
func Register(s grpc.ServiceRegistrar, c Config) {
	v := newView(c)
	hubv1.RegisterImageServiceServer(s, &images{view: v})
	hubv1.RegisterReplicaServiceServer(s, &replicas{view: v})
	hubv1.RegisterSiteServiceServer(s, &sites{view: v})
	hubv1.RegisterStoreServiceServer(s, &stores{view: v})
	hubv1.RegisterOperationServiceServer(s, &operations{view: v})
	hubv1.RegisterLimitServiceServer(s, &limits{view: v})
}

// view turns records and live state into messages.
type view struct {
	Config
	reads     *imageapi.Reads
	downloads *berth.Berths
	watches   *berth.Berths
}

func newView(c Config) *view {
	return &view{
		Config: c, reads: &imageapi.Reads{Source: c.Images, Policy: c.Policy}, downloads: berth.New(mostDownloads, projectDownloads),
		watches: berth.New(mostWatches, projectWatches),
	}
}

func (v *view) read() catalog.Reader { return v.Catalog.Read() }
