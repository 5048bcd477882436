package imageapi

import (
	"strconv"
	"strings"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/policy"
)

// imageTarget shows an image to policy rules as one caller relates to it.
type imageTarget struct {
	img    *Image
	caller *auth.Caller
	member string // project the rule is about as a member; empty: the caller's own, if it is one
}

// Target returns what policy rules may ask about the image: its attributes and properties, project_id and owner, image_id,
// and member_id, which is the caller's project if the image is shared with it. Locations are not among them.
func (img *Image) Target(c *auth.Caller) policy.Target { return imageTarget{img: img, caller: c} }

// memberTarget returns the target of a rule about one member of the image.
func (img *Image) memberTarget(project string) policy.Target {
	return imageTarget{img: img, member: project}
}

// Attribute returns one attribute; ok is false for those that the image does not have.
func (t imageTarget) Attribute(name string) (value string, ok bool) {
	img := t.img
	switch name {
	case "id", "image_id", "target.image.id":
		return string(img.ID), true
	case "project_id", "owner", "tenant":
		return img.Owner, img.Owner != ""
	case "member_id", "member":
		return t.memberID()
	case "visibility":
		return string(img.Visibility), true
	case "name":
		return img.Name, img.Name != ""
	case "status":
		return string(img.Status), true
	case "protected":
		return title(img.Protected), true
	case "os_hidden":
		return title(img.Hidden), true
	case "disk_format":
		return img.DiskFormat, img.DiskFormat != ""
	case "container_format":
		return img.ContainerFormat, img.ContainerFormat != ""
	case "tags":
		return strings.Join(img.Tags, ","), true
	}
	return t.lesser(name)
}

// lesser returns the attributes that rules hardly ever ask for, and properties.
func (t imageTarget) lesser(name string) (value string, ok bool) {
	img := t.img
	switch name {
	case "min_disk":
		return strconv.Itoa(int(img.MinDisk)), true
	case "min_ram":
		return strconv.Itoa(int(img.MinRAM)), true
	case "size":
		return strconv.FormatInt(img.Size, 10), img.Size != 0
	case "virtual_size":
		return strconv.FormatInt(img.VirtualSize, 10), img.VirtualSize != 0
	case "checksum":
		return img.Checksum, img.Checksum != ""
	case "os_hash_algo":
		return img.HashAlgo, img.HashAlgo != ""
	case "os_hash_value":
		return img.HashValue, img.HashValue != ""
	case "created_at":
		return img.CreatedAt.UTC().Format(timestamp), true
	case "updated_at":
		return img.UpdatedAt.UTC().Format(timestamp), true
	case "locations", "direct_url":
		return "", false
	}
	value, ok = img.Properties[name]
	return value, ok
}

func (t imageTarget) memberID() (string, bool) {
	if t.member != "" {
		return t.member, true
	}
	if t.caller != nil && !owns(t.img, t.caller) && IsMember(t.img, t.caller) {
		return t.caller.ProjectID, true
	}
	return "", false
}

// title writes a boolean in the way that rules are written.
func title(b bool) string {
	if b {
		return "True"
	}
	return "False"
}
