package imageapi

import (
	"slices"
	"strings"

	"github.com/atoll-dcn/atoll/pkg/image"
)

// Limits of the records and of what requests may carry.
const (
	MaxName       = 255       // characters of a name, an owner, a tag or a property's name
	MaxMinimum    = 1<<31 - 1 // of min_disk and min_ram
	DefaultLimit  = 25        // images in a page when the request does not say
	MaxLimit      = 1000      // images in a page whatever the request says
	MaxJSON       = 1 << 20   // bytes of a JSON body
	MaxJSONDepth  = 32        // nesting of a JSON body
	MaxPatchOps   = 1024      // operations in a patch
	MaxHeader     = 32 << 10  // bytes of a request's headers
	MaxURL        = 8 << 10   // bytes of a request's path and query
	MaxRequestID  = 64        // characters of the request id that a client sends
	maxPointer    = 1024      // bytes of the path of a patch operation
	maxQueryPairs = 256       // parameters in a query
	maxPrefer     = 64        // stores that a download may prefer
)

// The attributes that the API derives or keeps, so that no property can have their name.
var (
	writable = []string{
		"name", "visibility", "protected", "os_hidden", "owner", "disk_format", "container_format", "min_disk", "min_ram", "tags", "locations",
	}
	readOnly = []string{
		"created_at", "updated_at", "status", "checksum", "size", "virtual_size", "direct_url", "self", "file", "schema", "id",
		"os_hash_algo", "os_hash_value", "stores",
	}
	createReadOnly = []string{
		"created_at", "updated_at", "status", "checksum", "size", "virtual_size", "direct_url", "self", "file", "schema",
		"os_hash_algo", "os_hash_value", "stores",
	}
	reserved = []string{"location", "deleted", "deleted_at"}
)

// Base reports whether name is an attribute of every image rather than a property of some.
func Base(name string) bool {
	return slices.Contains(writable, name) || slices.Contains(readOnly, name)
}

// ReadOnly reports whether a patch may never touch the attribute name: 403.
func ReadOnly(name string) bool { return slices.Contains(readOnly, name) }

// CreateReadOnly reports whether a new image may not bring the attribute name: 403. An id it may bring.
func CreateReadOnly(name string) bool { return slices.Contains(createReadOnly, name) }

// Reserved reports whether name belongs to the service and no request may set, change or remove it: 403.
func Reserved(name string) bool {
	return slices.Contains(reserved, name) || strings.HasPrefix(name, "os_glance") || Derived(name)
}

// Derived reports whether name is that of a property which the service itself gives to images, such as atoll_signature. It is
// shown like any other. Nova and Cinder copy the properties of an image to the next one that they make of it, so new images
// may bring it along: it is left out then.
func Derived(name string) bool { return image.Derived(name) }
