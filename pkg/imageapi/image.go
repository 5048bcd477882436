// Package imageapi is the Image API v2 as clients see it: names, JSON, queries, errors, and the handlers that only read.
// The hub serves all of it and each agent the part that reads; both put their own source of images behind it.
package imageapi

import (
	"sync/atomic"
	"time"

	"github.com/atoll-dcn/atoll/pkg/image"
)

// ImageStatus is the state of an image in the words of the Image API.
type ImageStatus string

// The statuses that clients see.
const (
	Queued        ImageStatus = "queued"
	Saving        ImageStatus = "saving"
	Uploading     ImageStatus = "uploading"
	Importing     ImageStatus = "importing"
	Active        ImageStatus = "active"
	Deactivated   ImageStatus = "deactivated"
	PendingDelete ImageStatus = "pending_delete" // its stores are being asked whether it may go
)

// Visibility says who sees an image.
type Visibility string

// The visibilities.
const (
	Private   Visibility = "private"
	Shared    Visibility = "shared"
	Community Visibility = "community"
	Public    Visibility = "public"
)

// Member is a project that an image is shared with.
type Member struct {
	ProjectID string
	Status    string // "pending", "accepted" or "rejected"
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Location is a published copy.
type Location struct {
	URL   string
	Store string
	Site  image.SiteID
}

// Image is an image as the Image API shows it. It is made once per change of its records and shared: nobody changes it.
type Image struct {
	ID              image.ID
	Revision        int64 // of the record; changes with every edit
	Name            string
	Status          ImageStatus
	Visibility      Visibility
	Owner           string // empty: null
	Protected       bool
	Hidden          bool
	DiskFormat      string // empty: null
	ContainerFormat string // empty: null
	MinDisk         int32  // GB
	MinRAM          int32  // MB
	Size            int64  // bytes; 0: null
	VirtualSize     int64  // bytes; 0: null
	Checksum        string // MD5 in hex; empty: null
	HashAlgo        string // empty: null
	HashValue       string // empty: null
	Tags            []string
	Members         []Member
	Properties      map[string]string // free-form ones
	CreatedAt       time.Time
	UpdatedAt       time.Time
	Stores          []string // with a published copy, sorted
	Locations       []Location
	// Copying says that an import or a copy has named stores: then the two lists are shown even if they are empty.
	Copying     bool
	ImportingTo []string // stores being filled, sorted
	Failed      []string // stores whose fill failed, sorted
	ImportTask  string   // operation that fills stores now; empty: none

	// ContentID names the bytes for whoever opens them; it is not shown.
	ContentID image.ID

	json atomic.Pointer[[]byte] // what every reader gets, made at its first use
}

// Source is where images are read from: the hub's catalog, or what a site has of it. Methods may be called at the same
// time and never block on a site.
type Source interface {
	// Image returns an image, nil when there is none. It shows all changes that were acknowledged before the call.
	Image(id image.ID) *Image
	// Images returns all images. It shows all changes that were acknowledged before the call.
	Images() Sequence
}
