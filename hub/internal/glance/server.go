// Package glance serves the Image API v2 of the hub: it checks what clients send, asks the policy, calls the catalog and
// shows what the records say. It holds no rules about records; those are in package catalog.
//
// What only reads, and how things look on the wire, is in package imageapi, which the agents share.
package glance

import (
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/importer/outside"
	"github.com/atoll-dcn/atoll/pkg/berth"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
)

// Settings are the choices of an installation.
type Settings struct {
	// ImportMethods are offered to clients, in this order. Default: glance-direct, web-download, copy-image.
	ImportMethods []string
	// GlanceDownload offers the method glance-download too.
	GlanceDownload bool
	// DeleteWait bounds how long DELETE of an image waits for the answers of the sites. Default 5 s.
	DeleteWait time.Duration
	// UploadWait bounds how long PUT of a file waits, after its last byte, for the image to become active. Default 10 min.
	UploadWait time.Duration
}

// Methods returns the import methods on offer, in the order in which clients are told of them. The slice is shared.
func (s Settings) Methods() []string {
	if s.GlanceDownload {
		return append(slices.Clip(s.ImportMethods), "glance-download")
	}
	return s.ImportMethods
}

// Config is what a Server needs. All fields without a default are required.
type Config struct {
	Catalog   *catalog.Catalog
	Index     *Index // over the records of Catalog; whoever made it closes it
	Importer  Importer
	Chunks    Chunks
	Directory Directory
	Sources   Sources         // nil: nobody can choose the store that a download is read from
	Outside   *outside.Client // says which URLs may be fetched
	Regional  *outside.Client // asks the regions that Regions names
	Regions   Regions         // needed for glance-download only
	Policy    imageapi.Policy
	Settings  Settings
	Log       hclog.Logger     // default: none
	Now       func() time.Time // default: time.Now
}

// Server is the Image API of the hub. Its handlers run at the same time; it owns no goroutines.
type Server struct {
	Config
	reads *imageapi.Reads
	// downloads bounds how many downloads hold buffers at the same time.
	downloads *berth.Berths
	// locations carries out what PATCH says about locations.
	locations Locations
	turns     *turns
	// undoWait and preferWait are the constants of these names; tests wait longer for a busy machine.
	undoWait, preferWait time.Duration
}

// New returns a server. Nothing is served before Routes.
func New(c Config) *Server {
	if len(c.Settings.ImportMethods) == 0 {
		c.Settings.ImportMethods = []string{"glance-direct", "web-download", "copy-image"}
	}
	if c.Settings.DeleteWait == 0 {
		c.Settings.DeleteWait = 5 * time.Second
	}
	if c.Settings.UploadWait == 0 {
		c.Settings.UploadWait = 10 * time.Minute
	}
	if c.Log == nil {
		c.Log = hclog.NewNullLogger()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	s := &Server{
		Config: c, downloads: berth.New(mostDownloads, projectDownloads), turns: newTurns(), undoWait: undoWait, preferWait: preferWait,
	}
	s.locations = s
	s.reads = &imageapi.Reads{Source: c.Index, Policy: c.Policy, Open: s, Stores: s.storeList, Formats: c.Catalog.Limits().Formats}
	return s
}

// Routes adds every resource of the API to a router.
func (s *Server) Routes(rt *imageapi.Router) {
	s.reads.Register(rt)
	s.imageRoutes(rt)
	s.dataRoutes(rt)
}
