// Package inject adds properties that the operator wants on every imported image, as Glance's plugin inject_image_metadata
// does: on imports only, and not on those of callers with certain roles.
package inject

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
)

// The flags that errors name.
const (
	FlagProperties  = "inject-properties"
	FlagIgnoreRoles = "inject-ignore-roles"
)

// Rules say what is added to whose images. They do not change. A nil *Rules adds nothing.
type Rules struct {
	properties map[string]string
	ignore     []string // roles, lower case
}

// Parse reads rules as the flags give them. properties are lists of key:value pairs that are separated by commas; values that
// hold commas or outer spaces are put into quotes. Keys must not come twice and must be free for use: not those of attributes
// that every image has, nor of the service (os_glance*, atoll_*), nor of signatures (img_signature*), which are verified before
// anything is added. Callers with one of ignoreRoles, whose case does not count, get nothing.
func Parse(properties, ignoreRoles []string) (*Rules, error) {
	r := &Rules{properties: map[string]string{}}
	for _, list := range properties {
		pairs, err := split(list)
		if err != nil {
			return nil, fault.BadField(FlagProperties, "%s", err)
		}
		for _, p := range pairs {
			if problem := refuse(p[0], p[1]); problem != "" {
				return nil, fault.BadField(FlagProperties, "%q %s", p[0], problem)
			}
			if _, twice := r.properties[p[0]]; twice {
				return nil, fault.BadField(FlagProperties, "%q is given twice", p[0])
			}
			r.properties[p[0]] = p[1]
		}
	}
	for _, role := range ignoreRoles {
		if role = strings.ToLower(strings.TrimSpace(role)); role == "" {
			return nil, fault.BadField(FlagIgnoreRoles, "holds a role without a name")
		}
		r.ignore = append(r.ignore, role)
	}
	return r, nil
}

// The limits of a property.
const (
	maxKey   = imageapi.MaxName // characters
	maxValue = 65535            // bytes
)

// refuse says what is wrong with a property; empty: nothing.
func refuse(key, value string) string {
	switch {
	case key == "" || utf8.RuneCountInString(key) > maxKey:
		return "is not the name of a property: names have 1 to 255 characters"
	case len(value) > maxValue:
		return "has a value of more than 65535 bytes"
	case !utf8.ValidString(key) || !utf8.ValidString(value):
		return "or its value is not valid UTF-8"
	case imageapi.Base(key):
		return "is an attribute of every image and no property"
	case imageapi.Reserved(key), key == image.PropertyBase:
		return "is reserved for the service"
	case strings.HasPrefix(key, "img_signature"):
		return "belongs to a signature"
	}
	return ""
}

// Apply returns the properties that an image gets whose import brings props and was asked for by a caller with these roles:
// those of the rules replace others. props stays as it is; the result is nil when there are none.
func (r *Rules) Apply(roles []string, props map[string]string) map[string]string {
	out := maps.Clone(props)
	if r == nil || len(r.properties) == 0 || slices.ContainsFunc(roles, r.ignores) {
		return out
	}
	if out == nil {
		out = make(map[string]string, len(r.properties))
	}
	maps.Copy(out, r.properties)
	return out
}

func (r *Rules) ignores(role string) bool { return slices.Contains(r.ignore, strings.ToLower(role)) }
