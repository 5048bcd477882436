package api

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	"github.com/atoll-dcn/atoll/pkg/policy"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// mostEdits bounds how often a change is judged anew because somebody else was faster.
const mostEdits = 20

func (s *images) UpdateImage(ctx context.Context, req *hubv1.UpdateImageRequest) (*hubv1.UpdateImageResponse, error) {
	in := req.GetImage()
	paths, err := changedFields(in, req.GetUpdateMask().GetPaths())
	if err != nil {
		return nil, err
	}
	var etag int64
	if in.GetEtag() != "" {
		if etag, err = strconv.ParseInt(in.GetEtag(), 36, 64); err != nil {
			return nil, fault.BadField("image.etag", "%q is not an etag of an image", clip(in.GetEtag()))
		}
	}
	e := edit{images: s, caller: auth.From(ctx), in: in, paths: paths}
	for range mostEdits {
		// The caller's rights are judged by the very revision that is changed.
		if e.before, err = s.find(ctx, "image.id", in.GetId(), "modify_image"); err != nil {
			return nil, err
		}
		if etag != 0 && etag != e.before.Revision {
			return nil, fault.New(fault.Precondition, "STALE_ETAG", "image %s has changed since it was read", e.before.ID)
		}
		err = s.Catalog.EditImage(ctx, e.before.ID, e.before.Revision, e.apply)
		if fault.ReasonOf(err) != "STALE_ETAG" || etag != 0 {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	m, err := s.image(e.caller, e.before.ID)
	return &hubv1.UpdateImageResponse{Image: m}, err
}

// edit is one change of an image by a caller.
type edit struct {
	*images
	caller *auth.Caller
	in     *hubv1.Image
	paths  []string
	before *imageapi.Image
}

// field is what may be changed of an image.
type field struct {
	set   func(*hubv1.Image) bool // whether a change without a mask means it
	apply func(*edit, *storev1.Image) error
}

var fields = map[string]field{
	"name": {
		func(in *hubv1.Image) bool { return in.GetName() != "" },
		func(e *edit, r *storev1.Image) error { r.Name = e.in.GetName(); return nil },
	},
	"protected": {
		func(in *hubv1.Image) bool { return in.GetProtected() },
		func(e *edit, r *storev1.Image) error { r.Protected = e.in.GetProtected(); return nil },
	},
	"hidden": {
		func(in *hubv1.Image) bool { return in.GetHidden() },
		func(e *edit, r *storev1.Image) error { r.Hidden = e.in.GetHidden(); return nil },
	},
	"tags": {
		func(in *hubv1.Image) bool { return len(in.GetTags()) > 0 },
		func(e *edit, r *storev1.Image) error { r.Tags = e.in.GetTags(); return nil },
	},
	"min_disk_gb": {
		func(in *hubv1.Image) bool { return in.GetMinDiskGb() != 0 },
		func(e *edit, r *storev1.Image) error { r.MinDiskGb = e.in.GetMinDiskGb(); return nil },
	},
	"min_ram_mb": {
		func(in *hubv1.Image) bool { return in.GetMinRamMb() != 0 },
		func(e *edit, r *storev1.Image) error { r.MinRamMb = e.in.GetMinRamMb(); return nil },
	},
	"disk_format": {
		func(in *hubv1.Image) bool { return in.GetDiskFormat() != "" },
		func(e *edit, r *storev1.Image) error { r.DiskFormat = e.in.GetDiskFormat(); return nil },
	},
	"container_format": {
		func(in *hubv1.Image) bool { return in.GetContainerFormat() != "" },
		func(e *edit, r *storev1.Image) error { r.ContainerFormat = e.in.GetContainerFormat(); return nil },
	},
	"owner":      {func(in *hubv1.Image) bool { return in.GetOwner() != "" }, (*edit).setOwner},
	"visibility": {func(in *hubv1.Image) bool { return in.GetVisibility() != 0 }, (*edit).setVisibility},
	"properties": {func(in *hubv1.Image) bool { return len(in.GetProperties()) > 0 }, (*edit).setProperties},
}

// changedFields returns the fields the mask names; without a mask those that are set.
func changedFields(in *hubv1.Image, paths []string) ([]string, error) {
	if len(paths) == 0 {
		for name, f := range fields {
			if f.set(in) {
				paths = append(paths, name)
			}
		}
	}
	for _, p := range paths {
		if _, ok := fields[p]; !ok {
			return nil, fault.BadField("update_mask", "%q cannot be updated", clip(p))
		}
	}
	paths = slices.Clone(paths)
	slices.Sort(paths)
	return slices.Compact(paths), nil
}

// apply changes a record.
func (e *edit) apply(r *storev1.Image) error {
	for _, p := range e.paths {
		if err := fields[p].apply(e, r); err != nil {
			return err
		}
	}
	return nil
}

func (e *edit) setOwner(r *storev1.Image) error {
	if e.in.GetOwner() != r.Owner && !e.admin(e.caller) {
		return fault.New(fault.Denied, "OWNER_FIXED", "only administrators may change the owner of an image")
	}
	r.Owner = e.in.GetOwner()
	return nil
}

func (e *edit) setVisibility(r *storev1.Image) error {
	v, err := parseVisibility("image.visibility", e.in.GetVisibility())
	if err != nil {
		return err
	}
	if rule := visibilityRule(v); rule != "" && v != r.Visibility {
		if err := e.authorize(e.caller, e.before, rule); err != nil {
			return err
		}
	}
	r.Visibility = v
	return nil
}

// setProperties replaces the properties that the caller can read; the others stay as they are.
func (e *edit) setProperties(r *storev1.Image) error {
	now := maps.Clone(e.in.GetProperties())
	if now == nil {
		now = map[string]string{}
	}
	for name, old := range r.Properties {
		value, named := now[name]
		readable := e.Policy.Property(e.caller, name, policy.Read)
		switch {
		case !named && !readable:
			now[name] = old
		case !named && !e.Policy.Property(e.caller, name, policy.Delete):
			return protectedProperty(name)
		case named && readable && value != old && !e.Policy.Property(e.caller, name, policy.Update):
			return protectedProperty(name)
		case named && !readable && !e.Policy.Property(e.caller, name, policy.Create):
			return protectedProperty(name)
		}
	}
	for name := range e.in.GetProperties() {
		if _, had := r.Properties[name]; had {
			continue
		}
		if err := checkProperty(name); err != nil {
			return err
		}
		if !e.Policy.Property(e.caller, name, policy.Create) {
			return protectedProperty(name)
		}
	}
	r.Properties = now
	return nil
}
