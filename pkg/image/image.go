// Package image holds the value types of the domain: identities, phases and locations. It is pure: no I/O, no clock.
//
// Identities are parsed once where they enter a process and travel as these types from then on.
package image

import (
	"crypto/rand"
	"fmt"
	"regexp"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// ID is the UUID of an image, an operation or a content: 36 characters, lower case.
type ID string

// StoreID is the name users type for a store: one Ceph pool at one site.
type StoreID string

// SiteID is the name of a site: one place with one agent.
type SiteID string

var (
	uuidPattern = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	namePattern = regexp.MustCompile(`^[a-z]([a-z0-9_-]{0,61}[a-z0-9])?$`)
)

// NewID returns a random (version 4) UUID.
func NewID() ID {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand, Go 1.24)
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return ID(fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16]))
}

// ParseID returns s as an ID, or an Invalid error that names the field.
func ParseID(field, s string) (ID, error) {
	if !uuidPattern.MatchString(s) {
		return "", fault.BadField(field, "%q is not a UUID like 2bd882e7-1da0-4078-97fe-f1bb81f61b00 (36 characters, lower case)", clip(s))
	}
	return ID(s), nil
}

// ParseStoreID returns s as a StoreID, or an Invalid error that names the field.
// Names that start with os_glance_ are reserved (Glance keeps its own stores under that prefix).
func ParseStoreID(field, s string) (StoreID, error) {
	if err := checkName(field, s); err != nil {
		return "", err
	}
	return StoreID(s), nil
}

// ParseSiteID returns s as a SiteID, or an Invalid error that names the field.
func ParseSiteID(field, s string) (SiteID, error) {
	if err := checkName(field, s); err != nil {
		return "", err
	}
	return SiteID(s), nil
}

func checkName(field, s string) error {
	if !namePattern.MatchString(s) {
		return fault.BadField(field,
			"%q is not a name: use 1 to 63 lower-case letters, digits, dashes or underscores, starting with a letter, ending with a letter or digit", clip(s))
	}
	if len(s) >= 10 && s[:10] == "os_glance_" {
		return fault.BadField(field, "names starting with os_glance_ are reserved")
	}
	return nil
}

// clip bounds what of a bad value is repeated in an error.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
