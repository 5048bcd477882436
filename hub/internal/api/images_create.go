package api

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	"github.com/atoll-dcn/atoll/pkg/policy"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

func (s *images) CreateImage(ctx context.Context, req *hubv1.CreateImageRequest) (*hubv1.CreateImageResponse, error) {
	c := auth.From(ctx)
	n, err := newImage(c, req.GetImage())
	if err != nil {
		return nil, err
	}
	if err := s.mayCreate(c, n); err != nil {
		return nil, err
	}
	img, err := s.Catalog.CreateImage(ctx, n)
	if err != nil {
		return nil, err
	}
	m, err := s.image(c, image.ID(img.Id))
	return &hubv1.CreateImageResponse{Image: m}, err
}

// newImage reads what a caller says about a new image.
func newImage(c *auth.Caller, in *hubv1.Image) (catalog.NewImage, error) {
	n := catalog.NewImage{
		Name: in.GetName(), DiskFormat: cmp.Or(in.GetDiskFormat(), "raw"), ContainerFormat: cmp.Or(in.GetContainerFormat(), "bare"),
		Properties: in.GetProperties(), Protected: in.GetProtected(), Owner: in.GetOwner(), Hidden: in.GetHidden(), Tags: in.GetTags(),
		MinDiskGB: in.GetMinDiskGb(), MinRAMMB: in.GetMinRamMb(), Visibility: storev1.Visibility_VISIBILITY_SHARED,
	}
	if n.Owner == "" && c != nil {
		n.Owner = c.ProjectID
	}
	if in.GetVisibility() != hubv1.Visibility_VISIBILITY_UNSPECIFIED {
		var err error
		if n.Visibility, err = parseVisibility("image.visibility", in.GetVisibility()); err != nil {
			return n, err
		}
	}
	if in.GetId() != "" {
		var err error
		if n.ID, err = image.ParseID("image.id", in.GetId()); err != nil {
			return n, err
		}
	}
	return n, nil
}

// mayCreate asks the policy whether the caller may create such an image, as the Image API does.
func (s *images) mayCreate(c *auth.Caller, n catalog.NewImage) error {
	draft := &imageapi.Image{
		ID: n.ID, Name: n.Name, Status: imageapi.Queued, Visibility: imageapi.Visibility(catalog.VisibilityWord(n.Visibility)), Owner: n.Owner, Protected: n.Protected,
		Hidden: n.Hidden, DiskFormat: n.DiskFormat, ContainerFormat: n.ContainerFormat, MinDisk: n.MinDiskGB, MinRAM: n.MinRAMMB,
		Tags: n.Tags, Properties: n.Properties, CreatedAt: s.Now(), UpdatedAt: s.Now(),
	}
	target := draft.Target(c)
	if err := s.require(c, "add_image", target); err != nil {
		return err
	}
	if c == nil || n.Owner != c.ProjectID && !s.admin(c) {
		return fault.New(fault.Denied, "FOREIGN_OWNER", "only administrators may create images for others")
	}
	if rule := visibilityRule(n.Visibility); rule != "" {
		if err := s.require(c, rule, target); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(n.Properties)) {
		if err := checkProperty(name); err != nil {
			return err
		}
		if !s.Policy.Property(c, name, policy.Create) {
			return protectedProperty(name)
		}
	}
	return nil
}

// checkProperty refuses names that the Image API could not show as properties, because they mean something else there.
func checkProperty(name string) error {
	if imageapi.Base(name) || imageapi.Reserved(name) {
		return fault.BadField("image.properties", "%q is not a name for a property: it is reserved", clip(name))
	}
	return nil
}

func protectedProperty(name string) error {
	return fault.New(fault.Denied, "PROTECTED_PROPERTY", "property %q is protected", clip(name))
}

// clip bounds what of a name is repeated in an error.
func clip(name string) string {
	const most = 64
	if r := []rune(name); len(r) > most {
		return string(r[:most]) + "..."
	}
	return name
}

// visibilityRule returns the rule that guards a visibility, empty for those that are every owner's.
func visibilityRule(v storev1.Visibility) string {
	switch v {
	case storev1.Visibility_VISIBILITY_PUBLIC:
		return "publicize_image" //nolint:misspell // the rule's name
	case storev1.Visibility_VISIBILITY_COMMUNITY:
		return "communitize_image"
	default:
		return ""
	}
}

// parseVisibility returns a visibility as it is stored; the numbers are the same, see TestEnumsAgree.
func parseVisibility(field string, v hubv1.Visibility) (storev1.Visibility, error) {
	if v < hubv1.Visibility_VISIBILITY_PRIVATE || v > hubv1.Visibility_VISIBILITY_PUBLIC {
		return 0, fault.BadField(field, "must be private, shared, community or public")
	}
	return storev1.Visibility(v), nil
}
