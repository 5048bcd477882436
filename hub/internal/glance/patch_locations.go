package glance

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Locations carries out what callers who may say about the places of an image's copies.
type Locations interface {
	// AddLocation takes over the copy that the URL names. expected is nil when the caller knows no digest. Errors: Invalid
	// for a URL that names no registered store or not this image, Denied for another scheme, Precondition for an image in
	// the wrong status.
	AddLocation(ctx context.Context, id image.ID, url string, expected *storev1.Expected) error
	// RemoveLocation removes the copy in a store. Errors: Denied for the last one, NotFound, Precondition when it is in use.
	RemoveLocation(ctx context.Context, id image.ID, store image.StoreID) error
}

// location is a location as clients send it.
type location struct {
	URL      *string         `json:"url"`
	Metadata json.RawMessage `json:"metadata"`
	Expected *validation     `json:"validation_data"`
}

type validation struct {
	Algo  string `json:"os_hash_algo"`
	Value string `json:"os_hash_value"`
	MD5   string `json:"checksum"`
}

// patchLocations applies one operation on locations. Only services and administrators may: whoever may place locations may
// give an image other bytes.
func (s *Server) patchLocations(ctx context.Context, c *auth.Caller, img *imageapi.Image, op imageapi.PatchOp) error {
	rules := []string{"show_image_locations", "set_image_location"}
	if op.Op == "remove" {
		rules = []string{"show_image_locations", "get_image_location", "delete_image_location"}
	}
	for _, rule := range rules {
		if err := s.reads.Authorize(c, img, rule); err != nil {
			return err
		}
	}
	switch op.Op {
	case "add":
		return s.patchAddLocation(ctx, img, op)
	case "replace":
		return s.patchReplaceLocations(ctx, img, op.Value)
	default:
		return s.patchRemoveLocation(ctx, c, img, op.Path[1])
	}
}

func (s *Server) patchAddLocation(ctx context.Context, img *imageapi.Image, op imageapi.PatchOp) error {
	if _, err := parsePosition(op.Path[1]); err != nil { // where it goes follows from its store
		return err
	}
	var l location
	if err := json.Unmarshal(op.Value, &l); err != nil {
		return fault.BadField("locations", "a location is an object with url and metadata")
	}
	return s.placeLocation(ctx, img, l)
}

func (s *Server) patchReplaceLocations(ctx context.Context, img *imageapi.Image, value json.RawMessage) error {
	var list []location
	if err := json.Unmarshal(value, &list); err != nil {
		return fault.BadField("locations", "must be a list of objects with url and metadata")
	}
	switch {
	case len(list) == 0:
		return fault.New(fault.Denied, "LAST_LOCATION", "the last location of an image cannot be removed; delete the image instead")
	case sameURLs(list, img.Locations):
		return nil // only metadata may differ, and that follows from the stores here
	case len(img.Locations) > 0:
		return fault.New(fault.Invalid, "LOCATIONS_FIXED", "Original locations is not empty.")
	case len(list) > 1:
		return fault.BadField("locations", "only one location can be placed at a time")
	}
	return s.placeLocation(ctx, img, list[0])
}

// placeLocation checks a location and has its copy taken over.
func (s *Server) placeLocation(ctx context.Context, img *imageapi.Image, l location) error {
	if l.URL == nil || *l.URL == "" || len(*l.URL) > imageapi.MaxName {
		return fault.BadField("locations", "url must be a string of 1 to %d bytes", imageapi.MaxName)
	}
	if img.Status != imageapi.Queued && img.Status != imageapi.Active {
		return fault.New(fault.Precondition, "WRONG_STATUS", "locations can be added to a queued or active image, not to one that is %s", img.Status)
	}
	for _, have := range img.Locations {
		if have.URL == *l.URL {
			return fault.New(fault.Invalid, "LOCATION_EXISTS", "the image has this location already")
		}
	}
	expected, err := l.Expected.parse(img.Status)
	if err != nil {
		return err
	}
	return s.locations.AddLocation(ctx, img.ID, *l.URL, expected)
}

// parse returns the digest that the caller knows, nil for none.
func (v *validation) parse(status imageapi.ImageStatus) (*storev1.Expected, error) {
	if v == nil || *v == (validation{}) {
		return nil, nil
	}
	value := strings.ToLower(v.Value)
	digest, err := hex.DecodeString(value)
	switch {
	case status != imageapi.Queued:
		return nil, fault.New(fault.Precondition, "NOT_QUEUED", "validation data can be given for a queued image only")
	case v.Algo != "sha512":
		return nil, fault.New(fault.Precondition, "HASH_ALGORITHM", "os_hash_algo must be sha512")
	case err != nil || len(digest) != 64:
		return nil, fault.New(fault.Precondition, "HASH_VALUE", "os_hash_value must be 128 hexadecimal digits")
	}
	return &storev1.Expected{HashAlgo: v.Algo, HashValue: value}, nil
}

// patchRemoveLocation removes the copy at a position of the list that the caller sees.
func (s *Server) patchRemoveLocation(ctx context.Context, c *auth.Caller, img *imageapi.Image, position string) error {
	if img.Status != imageapi.Active {
		return fault.New(fault.Precondition, "NOT_ACTIVE", "locations can be removed from an active image only")
	}
	n, err := parsePosition(position)
	if err != nil {
		return err
	}
	shown := img.LocationsFor(c)
	if len(shown) < 2 {
		return fault.New(fault.Denied, "LAST_LOCATION", "the last location of an image cannot be removed; delete the image instead")
	}
	n = min(n, len(shown)-1)
	return s.locations.RemoveLocation(ctx, img.ID, image.StoreID(shown[n].Store))
}

// parsePosition reads a position in a list; "-" and what is too large stand for its end.
func parsePosition(s string) (int, error) {
	if s == "-" {
		return math.MaxInt, nil
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, fault.New(fault.Invalid, "INVALID_POSITION", "Invalid position for adding/removing a location.")
	}
	return int(n), nil
}

// sameURLs reports whether the list names just the places that the image has.
func sameURLs(list []location, have []imageapi.Location) bool {
	if len(list) != len(have) {
		return false
	}
	urls := map[string]bool{}
	for _, l := range have {
		urls[l.URL] = true
	}
	for _, l := range list {
		if l.URL == nil || !urls[*l.URL] {
			return false
		}
		delete(urls, *l.URL)
	}
	return true
}
