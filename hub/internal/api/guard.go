package api

import (
	"context"
	"time"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	"github.com/atoll-dcn/atoll/pkg/policy"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Rules of Atoll's own, see package policy.
const (
	ruleSites      = "manage_sites"
	ruleOperations = "manage_operations"
	ruleLocations  = "show_image_locations"
	ruleService    = "service_api"
	ruleAdmin      = "context_is_admin"
)

// find returns an image that the caller may apply a rule to. It decides as the Image API does: an image that does not exist
// and one that the caller may not know of are the same NotFound; only a rule beyond get_image yields Denied.
func (v *view) find(ctx context.Context, field, s, rule string) (*imageapi.Image, error) {
	id, err := image.ParseID(field, s)
	if err != nil {
		return nil, err
	}
	img := v.Images.Image(id)
	if img == nil {
		return nil, noImage(id)
	}
	return img, v.authorize(auth.From(ctx), img, rule)
}

// authorize returns the error of find for an image that exists.
func (v *view) authorize(c *auth.Caller, img *imageapi.Image, rule string) error {
	switch err := v.reads.Authorize(c, img, rule); {
	case fault.Is(err, fault.NotFound): // in the words for an image that does not exist
		return noImage(img.ID)
	case fault.Is(err, fault.Denied):
		return notAllowed(rule)
	default:
		return err
	}
}

func notAllowed(rule string) error {
	return fault.New(fault.Denied, "NOT_ALLOWED", "the policy rule %s does not allow this", rule)
}

func noImage(id image.ID) error {
	return fault.New(fault.NotFound, "IMAGE_NOT_FOUND", "no image %s", id)
}

// sees reports whether the caller may know of an image.
func (v *view) sees(c *auth.Caller, img *imageapi.Image) bool {
	return img != nil && v.authorize(c, img, "get_image") == nil
}

// require returns Denied unless a rule lets the caller act on a target, which may be nil.
func (v *view) require(c *auth.Caller, rule string, t policy.Target) error {
	if !v.Policy.Allowed(c, rule, t) {
		return notAllowed(rule)
	}
	return nil
}

// ownProject is the target of rules about everything that the caller's project has.
func ownProject(c *auth.Caller) policy.Target {
	if c == nil {
		return policy.Map{}
	}
	return policy.Map{"project_id": c.ProjectID, "owner": c.ProjectID}
}

func (v *view) admin(c *auth.Caller) bool { return v.Policy.Allowed(c, ruleAdmin, nil) }

// seesLocations reports whether the caller may know where the copies of an image are.
func (v *view) seesLocations(c *auth.Caller, id image.ID) bool {
	img := v.Images.Image(id)
	return img != nil && v.Policy.Allowed(c, ruleLocations, img.Target(c))
}

// seesOperation reports whether the caller may know of an operation: its project has asked for it or owns the image, or
// the caller manages operations.
func (v *view) seesOperation(c *auth.Caller, o *storev1.Operation) bool {
	if v.Policy.Allowed(c, ruleOperations, policy.Map{
		"id": o.Id, "image_id": o.ImageId, "project_id": o.Requester.GetProjectId(), "user_id": o.Requester.GetUserId(),
	}) {
		return true
	}
	if c == nil || c.ProjectID == "" {
		return false
	}
	if o.Requester.GetProjectId() == c.ProjectID {
		return true
	}
	img := v.Images.Image(image.ID(o.ImageId))
	return img != nil && img.Owner == c.ProjectID && v.sees(c, img)
}

// errExpired ends what watches for longer than the token of its caller works.
var errExpired = fault.New(fault.Unauthenticated, "TOKEN_EXPIRED", "the token has expired")

// expiry returns a channel that receives when the caller's token expires; nil when it never does. stop ends the waiting.
func (v *view) expiry(ctx context.Context) (expired <-chan time.Time, stop func()) {
	c := auth.From(ctx)
	if c == nil || c.Expires.IsZero() {
		return nil, func() {}
	}
	t := time.NewTimer(c.Expires.Sub(v.Now()))
	return t.C, func() { t.Stop() }
}
