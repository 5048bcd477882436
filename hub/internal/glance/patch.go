package glance

import (
	"maps"
	"net/http"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	"github.com/atoll-dcn/atoll/pkg/policy"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// patchImage changes an image. Its operations are applied in order and stored together, or none of them is. If somebody
// else changes the image meanwhile they are applied again to what it is then, so no change is lost.
func (s *Server) patchImage(w http.ResponseWriter, r *http.Request) error {
	ops, err := imageapi.ReadPatch(r)
	if err != nil {
		return err
	}
	locations := 0
	for _, op := range ops {
		if err := s.checkOp(op); err != nil {
			return err
		}
		if op.Path[0] == "locations" {
			locations++
		}
	}
	img, c, err := s.reads.Find(r, "get_image")
	if err != nil {
		return err
	}
	switch {
	case len(ops) == 0:
	case locations > 0 && len(ops) > 1:
		return fault.New(fault.Invalid, "INVALID_PATCH", "a location is changed by a patch of its own with one operation")
	case locations > 0:
		err = s.patchLocations(r.Context(), c, img, ops[0])
	default:
		err = s.edit(r, c, img.ID, "modify_image", func(record *storev1.Image) error { return s.patch(c, record, ops) })
	}
	if err != nil {
		return err
	}
	return s.writeCurrent(w, http.StatusOK, c, img.ID)
}

// checkOp refuses what is wrong whatever the image: attributes that are never changed by users, values of the wrong form.
func (s *Server) checkOp(op imageapi.PatchOp) error {
	name := op.Path[0]
	switch {
	case imageapi.ReadOnly(name):
		return fault.New(fault.Denied, "READ_ONLY", "Attribute '%s' is read-only.", name)
	case imageapi.Reserved(name):
		return fault.New(fault.Denied, "RESERVED", "Attribute %s is reserved.", quoted(name))
	case op.Op == "remove", name == "locations":
		return nil
	case settable(name):
		draft := &storev1.Image{}
		if err := attributes[name](draft, op.Value); err != nil {
			return err
		}
		return s.checkFormats(draft)
	default:
		_, err := property(name, op.Value)
		return err
	}
}

// patch applies operations to a record, which is not stored if one fails.
func (s *Server) patch(c *auth.Caller, record *storev1.Image, ops []imageapi.PatchOp) error {
	before := present(s.Catalog, record, 0) // rights are judged by what the image is, not by what it is going to be
	if record.Properties = maps.Clone(record.Properties); record.Properties == nil {
		record.Properties = map[string]string{}
	}
	for _, op := range ops {
		var err error
		if name := op.Path[0]; settable(name) {
			err = s.patchAttribute(c, before, record, op)
		} else {
			err = s.patchProperty(c, record, op)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// patchAttribute applies an operation to an attribute that every image has.
func (s *Server) patchAttribute(c *auth.Caller, before *imageapi.Image, record *storev1.Image, op imageapi.PatchOp) error {
	name := op.Path[0]
	switch {
	case op.Op == "remove":
		return fault.New(fault.Denied, "BASE_ATTRIBUTE", "Property %s may not be removed.", name)
	case op.Op == "add" && op.Draft4:
		return alreadyPresent(name)
	case name == "owner" && !s.admin(c):
		return fault.New(fault.Denied, "OWNER_FIXED", "Owner can't be updated by non admin.")
	}
	disk, container := record.DiskFormat, record.ContainerFormat
	if err := attributes[name](record, op.Value); err != nil {
		return err
	}
	if before.Status != imageapi.Queued && (record.DiskFormat != disk || record.ContainerFormat != container) {
		return fault.New(fault.Denied, "FORMAT_FIXED", "Attribute %s can be only replaced for a queued image.", name)
	}
	if rule := visibilityRule(record.Visibility); name == "visibility" && rule != "" {
		return s.reads.Authorize(c, before, rule)
	}
	return nil
}

// patchProperty applies an operation to a free-form property. One that the caller may not read is not there for it.
func (s *Server) patchProperty(c *auth.Caller, record *storev1.Image, op imageapi.PatchOp) error {
	name := op.Path[0]
	_, exists := record.Properties[name]
	exists = exists && s.Policy.Property(c, name, policy.Read)
	kind := policy.Update
	switch {
	case op.Op == "add" && exists && op.Draft4:
		return alreadyPresent(name)
	case op.Op == "add" && !exists:
		kind = policy.Create
	case !exists:
		return fault.New(fault.Precondition, "PROPERTY_NOT_FOUND", "Property %s does not exist.", quoted(name))
	case op.Op == "remove":
		kind = policy.Delete
	}
	if !s.Policy.Property(c, name, kind) {
		return protectedProperty(name)
	}
	if op.Op == "remove" {
		delete(record.Properties, name)
		return nil
	}
	value, err := property(name, op.Value)
	record.Properties[name] = value
	return err
}

// alreadyPresent refuses an addition in the old form to what is there already.
func alreadyPresent(name string) error {
	return fault.New(fault.Exists, "PROPERTY_EXISTS", "Property %s already present.", quoted(name))
}
