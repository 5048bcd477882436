package glance

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// attributes holds, for each attribute that clients may set, how its JSON value gets into a record. The form of the values
// is that of the image schema; a wrong one is an Invalid error that names the attribute.
var attributes = map[string]func(img *storev1.Image, value json.RawMessage) error{
	"name": func(img *storev1.Image, v json.RawMessage) (err error) {
		img.Name, err = textOrNull("name", v)
		return err
	},
	"owner": func(img *storev1.Image, v json.RawMessage) (err error) {
		img.Owner, err = textOrNull("owner", v)
		return err
	},
	"visibility":       setVisibility,
	"protected":        func(img *storev1.Image, v json.RawMessage) error { return flag("protected", v, &img.Protected) },
	"os_hidden":        func(img *storev1.Image, v json.RawMessage) error { return flag("os_hidden", v, &img.Hidden) },
	"min_disk":         func(img *storev1.Image, v json.RawMessage) error { return minimum("min_disk", v, &img.MinDiskGb) },
	"min_ram":          func(img *storev1.Image, v json.RawMessage) error { return minimum("min_ram", v, &img.MinRamMb) },
	"tags":             setTags,
	"disk_format":      setDiskFormat,
	"container_format": setContainerFormat,
}

// settable reports whether name is an attribute that clients may set.
func settable(name string) bool { return attributes[name] != nil }

func setVisibility(img *storev1.Image, v json.RawMessage) error {
	name, err := text("visibility", v)
	if err != nil {
		return err
	}
	stored, ok := visibilities[imageapi.Visibility(name)]
	if !ok {
		return fault.BadField("visibility", "must be private, shared, community or public")
	}
	img.Visibility = stored
	return nil
}

func setDiskFormat(img *storev1.Image, v json.RawMessage) (err error) {
	img.DiskFormat, err = formatOrNull("disk_format", v)
	return err
}

func setContainerFormat(img *storev1.Image, v json.RawMessage) (err error) {
	img.ContainerFormat, err = formatOrNull("container_format", v)
	return err
}

// formatOrNull returns the name of a format, empty for null. Whether it is accepted is for checkFormats.
func formatOrNull(field string, v json.RawMessage) (string, error) {
	s, err := textOrNull(field, v)
	if err == nil && s == "" && string(v) != "null" {
		return "", fault.BadField(field, "must be null or the name of a format")
	}
	return s, err
}

// checkFormats refuses formats that this installation does not accept.
func (s *Server) checkFormats(img *storev1.Image) error {
	accepted := s.Catalog.Limits().Formats
	if err := accepted.CheckDisk("disk_format", img.DiskFormat); err != nil {
		return err
	}
	return accepted.CheckContainer("container_format", img.ContainerFormat)
}

func setTags(img *storev1.Image, v json.RawMessage) error {
	var tags []string
	if err := json.Unmarshal(v, &tags); err != nil || tags == nil {
		return fault.BadField("tags", "must be a list of strings")
	}
	for _, t := range tags {
		if err := checkTag(t); err != nil {
			return err
		}
	}
	img.Tags = tags
	return nil
}

// checkTag checks the form of a tag.
func checkTag(t string) error {
	if n := utf8.RuneCountInString(t); n == 0 || n > imageapi.MaxName {
		return fault.BadField("tags", "a tag has 1 to %d characters", imageapi.MaxName)
	}
	return nil
}

// property checks a free-form property and returns its value.
func property(name string, v json.RawMessage) (string, error) {
	if n := utf8.RuneCountInString(name); n == 0 || n > imageapi.MaxName {
		return "", fault.New(fault.Invalid, "INVALID_FIELD", "the name of a property has 1 to %d characters", imageapi.MaxName)
	}
	var s *string
	if err := json.Unmarshal(v, &s); err != nil || s == nil {
		return "", fault.BadField(quoted(name), "must be a string")
	}
	return *s, nil
}

// text returns a string value.
func text(field string, v json.RawMessage) (string, error) {
	var s *string
	if err := json.Unmarshal(v, &s); err != nil || s == nil {
		return "", fault.BadField(field, "must be a string")
	}
	return *s, nil
}

// textOrNull returns a string value of at most 255 characters, empty for null.
func textOrNull(field string, v json.RawMessage) (string, error) {
	var s *string
	if err := json.Unmarshal(v, &s); err != nil {
		return "", fault.BadField(field, "must be a string or null")
	}
	if s == nil {
		return "", nil
	}
	if utf8.RuneCountInString(*s) > imageapi.MaxName {
		return "", fault.BadField(field, "must have at most %d characters", imageapi.MaxName)
	}
	return *s, nil
}

func flag(field string, v json.RawMessage, to *bool) error {
	var b *bool
	if err := json.Unmarshal(v, &b); err != nil || b == nil {
		return fault.BadField(field, "must be true or false")
	}
	*to = *b
	return nil
}

func minimum(field string, v json.RawMessage, to *int32) error {
	n, err := strconv.ParseInt(string(v), 10, 32)
	if err != nil || n < 0 {
		return fault.BadField(field, "must be a whole number from 0 to %d", imageapi.MaxMinimum)
	}
	*to = int32(n)
	return nil
}

// quoted bounds what of a name is repeated in an error.
func quoted(name string) string {
	const most = 64
	if len(name) > most {
		name = strings.ToValidUTF8(name[:most], "") + "..."
	}
	return strconv.Quote(name)
}
