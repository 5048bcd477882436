package imageapi

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/policy"
)

// timestamp is the form of times: UTC, whole seconds.
const timestamp = "2006-01-02T15:04:05Z"

// WriteImage answers with one image as the caller sees it.
func (rd *Reads) WriteImage(w http.ResponseWriter, code int, c *auth.Caller, img *Image) error {
	writeBytes(w, code, rd.appendImage(nil, c, img))
	return nil
}

// appendImage appends the image as the caller sees it: without properties that the caller may not read, and with
// locations only for those who may see them.
func (rd *Reads) appendImage(b []byte, c *auth.Caller, img *Image) []byte {
	if !rd.Policy.Protected() {
		b = append(b, img.common()...)
	} else {
		b = img.render(b, func(name string) bool { return rd.Policy.Property(c, name, policy.Read) })
	}
	if rd.Policy.Allowed(c, "show_image_locations", img.Target(c)) {
		b = img.appendLocations(b[:len(b)-1], c)
	}
	return b
}

// common returns what every caller may see when no property is protected. The slice is shared.
func (img *Image) common() []byte {
	if made := img.json.Load(); made != nil {
		return *made
	}
	b := slices.Clip(img.render(nil, func(string) bool { return true }))
	img.json.Store(&b)
	return b
}

// render appends the image without its locations and with those of its properties that may be read.
func (img *Image) render(b []byte, readable func(name string) bool) []byte {
	b = img.appendCore(b)
	if len(img.Stores) > 0 {
		b = appendPair(append(b, ','), "stores", strings.Join(img.Stores, ","))
	}
	if img.Copying {
		b = appendPair(append(b, ','), importingTo, strings.Join(img.ImportingTo, ","))
		b = appendPair(append(b, ','), failedImport, strings.Join(img.Failed, ","))
	}
	if img.ImportTask != "" {
		b = appendPair(append(b, ','), importTask, img.ImportTask)
	}
	for _, name := range slices.Sorted(maps.Keys(img.Properties)) {
		if isProperty(name) && readable(name) {
			b = appendPair(append(b, ','), name, img.Properties[name])
		}
	}
	return append(b, '}')
}

// isProperty reports whether something of this name is shown as a property.
func isProperty(name string) bool { return !Base(name) && (!Reserved(name) || Derived(name)) }

// The properties that say how a copy goes.
const (
	importingTo  = "os_glance_importing_to_stores"
	failedImport = "os_glance_failed_import"
	importTask   = "os_glance_import_task"
)

// appendCore appends the object up to where properties follow.
func (img *Image) appendCore(b []byte) []byte {
	b = slices.Grow(b, 1024)
	b = appendPair(append(b, '{'), "id", string(img.ID))
	b = appendOptional(append(b, ','), "name", img.Name)
	b = appendPair(append(b, ','), "status", string(img.Status))
	b = appendPair(append(b, ','), "visibility", string(img.Visibility))
	b = strconv.AppendBool(append(b, `,"protected":`...), img.Protected)
	b = strconv.AppendBool(append(b, `,"os_hidden":`...), img.Hidden)
	b = appendOptional(append(b, ','), "owner", img.Owner)
	b = appendOptional(append(b, ','), "disk_format", img.DiskFormat)
	b = appendOptional(append(b, ','), "container_format", img.ContainerFormat)
	if img.Size == 0 && img.Checksum != "" { // known to be empty
		b = append(b, `,"size":0`...)
	} else {
		b = appendNumber(append(b, `,"size":`...), img.Size)
	}
	b = appendNumber(append(b, `,"virtual_size":`...), img.VirtualSize)
	b = appendOptional(append(b, ','), "checksum", img.Checksum)
	b = appendOptional(append(b, ','), "os_hash_algo", img.HashAlgo)
	b = appendOptional(append(b, ','), "os_hash_value", img.HashValue)
	b = strconv.AppendInt(append(b, `,"min_disk":`...), int64(img.MinDisk), 10)
	b = strconv.AppendInt(append(b, `,"min_ram":`...), int64(img.MinRAM), 10)
	b = append(b, `,"tags":[`...)
	for i, tag := range img.Tags {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, tag)
	}
	b = img.CreatedAt.UTC().AppendFormat(append(b, `],"created_at":"`...), timestamp)
	b = img.UpdatedAt.UTC().AppendFormat(append(b, `","updated_at":"`...), timestamp)
	b = append(append(b, `","self":"/v2/images/`...), img.ID...)
	b = append(append(b, `","file":"/v2/images/`...), img.ID...)
	return append(b, `/file","schema":"/v2/schemas/image"`...)
}

// appendNumber appends a size, or null when it is not known.
func appendNumber(b []byte, n int64) []byte {
	if n == 0 {
		return append(b, "null"...)
	}
	return strconv.AppendInt(b, n, 10)
}

// appendLocations appends direct_url and locations to an object that lacks its end, those at the caller's site first.
func (img *Image) appendLocations(b []byte, c *auth.Caller) []byte {
	locations := img.LocationsFor(c)
	if len(locations) > 0 {
		b = appendPair(append(b, ','), "direct_url", locations[0].URL)
	}
	b = append(b, `,"locations":[`...)
	for i, l := range locations {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendPair(append(b, '{'), "url", l.URL)
		b = append(b, `,"metadata":{`...)
		b = append(appendPair(b, "store", l.Store), '}', '}')
	}
	return append(b, ']', '}')
}

// LocationsFor returns the locations in the order in which the caller should try them: those at its site, then the others
// in their own order. The slice may be shared.
func (img *Image) LocationsFor(c *auth.Caller) []Location {
	var site image.SiteID
	if c != nil {
		site = c.Site
	}
	if site == "" || len(img.Locations) == 0 || img.Locations[0].Site == site {
		return img.Locations
	}
	sorted := slices.Clone(img.Locations)
	slices.SortStableFunc(sorted, func(a, b Location) int {
		switch {
		case a.Site == site && b.Site != site:
			return -1
		case a.Site != site && b.Site == site:
			return 1
		}
		return 0
	})
	return sorted
}
