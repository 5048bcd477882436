package image

import "strings"

// PropertyBase is the property by which users say which image another one is a new version of: a UUID, or "none".
const PropertyBase = "atoll_base"

// Derived reports whether a property is one that the service itself gives to images, such as atoll_signature: all names
// beginning with atoll_ but PropertyBase.
func Derived(property string) bool {
	return strings.HasPrefix(property, "atoll_") && property != PropertyBase
}
