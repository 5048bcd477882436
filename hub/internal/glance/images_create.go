package glance

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	"github.com/atoll-dcn/atoll/pkg/policy"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// createImage makes a queued image.
func (s *Server) createImage(w http.ResponseWriter, r *http.Request) error {
	var body map[string]json.RawMessage
	if err := imageapi.ReadJSON(r, imageapi.MaxJSON, &body); err != nil {
		return err
	}
	c := auth.From(r.Context())
	draft, err := s.newImage(c, body)
	if err != nil {
		return err
	}
	if err := s.mayCreate(c, draft); err != nil {
		return err
	}
	if err := s.store(r.Context(), draft); err != nil {
		return err
	}
	w.Header().Set("Location", "/v2/images/"+draft.Id)
	w.Header().Set("OpenStack-image-import-methods", strings.Join(s.Settings.Methods(), ","))
	if ids := s.storeIDs(); len(ids) > 0 {
		w.Header().Set("OpenStack-image-store-ids", strings.Join(ids, ","))
	}
	return s.writeCurrent(w, http.StatusCreated, c, image.ID(draft.Id))
}

// store creates the record. Where the images of a project are counted its creates take turns, so that none slips past the
// count of another.
func (s *Server) store(ctx context.Context, draft *storev1.Image) error {
	create := func() error {
		_, err := s.Catalog.CreateImage(ctx, draftOf(draft))
		return err
	}
	if s.Catalog.Limits().ProjectImages <= 0 {
		return create()
	}
	return s.turns.do(ctx, image.ID("project "+draft.Owner), create)
}

// newImage reads what a client says about a new image. What it may never say is refused first, so that the answer does
// not depend on the values.
func (s *Server) newImage(c *auth.Caller, body map[string]json.RawMessage) (*storev1.Image, error) {
	if body == nil {
		return nil, fault.New(fault.Invalid, "INVALID_BODY", "the body must be a JSON object")
	}
	maps.DeleteFunc(body, func(name string, _ json.RawMessage) bool { return imageapi.Derived(name) }) // those of another image
	names := slices.Sorted(maps.Keys(body))
	for _, name := range names {
		if err := checkCreatable(name); err != nil {
			return nil, err
		}
	}
	img := &storev1.Image{
		Id: string(image.NewID()), Status: storev1.ImageStatus_IMAGE_STATUS_QUEUED,
		Visibility: storev1.Visibility_VISIBILITY_SHARED, Properties: map[string]string{},
	}
	if c != nil {
		img.Owner = c.ProjectID
	}
	for _, name := range names {
		var err error
		switch {
		case name == "id":
			err = setID(img, body[name])
		case settable(name):
			err = attributes[name](img, body[name])
		default:
			img.Properties[name], err = property(name, body[name])
		}
		if err != nil {
			return nil, err
		}
	}
	return img, s.checkFormats(img)
}

// checkCreatable refuses names that only the service gives values.
func checkCreatable(name string) error {
	switch {
	case imageapi.CreateReadOnly(name):
		return fault.New(fault.Denied, "READ_ONLY", "Attribute '%s' is read-only.", name)
	case imageapi.Reserved(name), name == "locations":
		return fault.New(fault.Denied, "RESERVED", "Attribute %s is reserved.", quoted(name))
	}
	return nil
}

// setID takes over the id that a client chose. Upper case is accepted and stored in lower case.
func setID(img *storev1.Image, v json.RawMessage) error {
	s, err := text("id", v)
	if err != nil {
		return err
	}
	id, err := image.ParseID("id", strings.ToLower(s))
	img.Id = string(id)
	return err
}

// mayCreate asks the policy whether the caller may create such an image.
func (s *Server) mayCreate(c *auth.Caller, draft *storev1.Image) error {
	target := present(s.Catalog, draft, 0).Target(c)
	if !s.Policy.Allowed(c, "add_image", target) {
		return notAllowed("add_image")
	}
	if (c == nil || draft.Owner != c.ProjectID) && !s.admin(c) {
		return fault.New(fault.Denied, "FOREIGN_OWNER", "only administrators may create images for others")
	}
	if rule := visibilityRule(draft.Visibility); rule != "" && !s.Policy.Allowed(c, rule, target) {
		return notAllowed(rule)
	}
	for _, name := range slices.Sorted(maps.Keys(draft.Properties)) {
		if !s.Policy.Property(c, name, policy.Create) {
			return protectedProperty(name)
		}
	}
	return nil
}

// visibilityRule returns the rule that guards a visibility, empty for those that are anybody's.
func visibilityRule(v storev1.Visibility) string {
	switch v {
	case storev1.Visibility_VISIBILITY_PUBLIC:
		return "publicize_image" //nolint:misspell // the name of the rule
	case storev1.Visibility_VISIBILITY_COMMUNITY:
		return "communitize_image"
	default:
		return ""
	}
}

func notAllowed(rule string) error {
	return fault.New(fault.Denied, "NOT_ALLOWED", "You are not authorized to complete %s action.", rule)
}

func protectedProperty(name string) error {
	return fault.New(fault.Denied, "PROTECTED_PROPERTY", "Property %s is protected", quoted(name))
}

// draftOf returns a record that does not exist yet as the catalog takes it.
func draftOf(img *storev1.Image) catalog.NewImage {
	return catalog.NewImage{
		ID: image.ID(img.Id), Name: img.Name, DiskFormat: img.DiskFormat, ContainerFormat: img.ContainerFormat,
		Properties: img.Properties, Protected: img.Protected, Owner: img.Owner, Visibility: img.Visibility, Hidden: img.Hidden,
		Tags: img.Tags, MinDiskGB: img.MinDiskGb, MinRAMMB: img.MinRamMb,
	}
}

// storeIDs returns the ids of all registered stores, sorted.
func (s *Server) storeIDs() []string {
	stores := s.Catalog.Read().Stores()
	ids := make([]string, len(stores))
	for i, st := range stores {
		ids[i] = st.Id
	}
	return ids
}

// writeCurrent answers with an image as it is now.
func (s *Server) writeCurrent(w http.ResponseWriter, code int, c *auth.Caller, id image.ID) error {
	img := s.Index.Image(id)
	if img == nil {
		return fault.New(fault.NotFound, "IMAGE_NOT_FOUND", "No image found with ID %s", id)
	}
	return s.reads.WriteImage(w, code, c, img)
}
