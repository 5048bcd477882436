package imageapi

import (
	"context"
	"io"
	"net/http"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/policy"
)

// Policy says what callers may do. It is *policy.Enforcer.
type Policy interface {
	// Allowed reports whether a rule lets the caller act on the target, which may be nil.
	Allowed(c *auth.Caller, rule string, t policy.Target) bool
	// Property reports whether the caller may do op to the property name of an image.
	Property(c *auth.Caller, name string, op policy.Operation) bool
	// Protected reports whether properties are protected at all. While not, Property allows everything.
	Protected() bool
}

// Opener reads the data of images.
type Opener interface {
	// Open returns the bytes [offset, offset+length) of the image in order. The stores in prefer are asked first, then the
	// others. The caller closes it. Open and Read block until data is there or ctx ends; their errors are fault errors,
	// Unavailable when no store can be read now.
	Open(ctx context.Context, img *Image, prefer []string, offset, length int64) (io.ReadCloser, error)
}

// Store is a store as discovery shows it.
type Store struct {
	ID          string
	Description string // empty: not shown
	Default     bool
	ReadOnly    bool
	Type        string         // "rbd" or "file"
	Weight      int            // larger ones are read first
	Properties  map[string]any // what administrators see besides
}

// Reads are the handlers that only read: discovery, schemas, images, their data, members and stores.
type Reads struct {
	Source Source
	Policy Policy
	Open   Opener         // nil: the data has no route here
	Stores func() []Store // in the order shown; nil: the stores have no routes here
	// Formats are those that the schemas name.
	Formats image.Formats
}

// Register adds the routes to rt.
func (rd *Reads) Register(rt *Router) {
	rt.Handle(http.MethodGet, "/v2/images", rd.list)
	rt.Handle(http.MethodGet, "/v2/images/{id}", rd.show)
	rt.Handle(http.MethodGet, "/v2/images/{id}/members", rd.listMembers)
	rt.Handle(http.MethodGet, "/v2/images/{id}/members/{member}", rd.showMember)
	if rd.Open != nil {
		rt.Handle(http.MethodGet, "/v2/images/{id}/file", rd.download)
	}
	if rd.Stores != nil {
		rt.Handle(http.MethodGet, "/v2/info/stores", rd.listStores)
		rt.Handle(http.MethodGet, "/v2/info/stores/detail", rd.detailStores)
	}
	registerSchemas(rt, rd.Formats)
}

// Find returns the image that the path value "id" names and the caller, if the caller may apply the rule to it.
// Errors: NotFound when there is no such image or the caller may not know of it, Denied when only the rule says no.
func (rd *Reads) Find(r *http.Request, rule string) (*Image, *auth.Caller, error) {
	c := auth.From(r.Context())
	id, err := ParseID(r)
	if err != nil {
		return nil, c, err
	}
	img := rd.Source.Image(id)
	if img == nil {
		return nil, c, noImage(string(id))
	}
	if err := rd.Authorize(c, img, rule); err != nil {
		return nil, c, err
	}
	return img, c, nil
}

// Authorize reports whether the caller may apply the rule to the image. Errors are those of Find.
func (rd *Reads) Authorize(c *auth.Caller, img *Image, rule string) error {
	if !VisibleTo(img, c) && !rd.admin(c) {
		return noImage(string(img.ID))
	}
	target := img.Target(c)
	if !rd.Policy.Allowed(c, "get_image", target) {
		return noImage(string(img.ID))
	}
	if rule != "get_image" && !rd.Policy.Allowed(c, rule, target) {
		return denied(rule)
	}
	return nil
}

// admin reports whether the caller sees everything.
func (rd *Reads) admin(c *auth.Caller) bool { return rd.Policy.Allowed(c, "context_is_admin", nil) }

func noImage(id string) error {
	return fault.New(fault.NotFound, "IMAGE_NOT_FOUND", "No image found with ID %s", id)
}

func denied(rule string) error {
	return fault.New(fault.Denied, "NOT_ALLOWED", "You are not authorized to complete %s action.", rule)
}
