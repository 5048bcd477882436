package glance

import (
	"context"

	"github.com/atoll-dcn/atoll/pkg/image"
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
