package catalog

import (
	"strings"
	"unicode/utf8"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Limits bound what users may store. Zero or negative means no limit, except where a default is given.
type Limits struct {
	Properties    int           // free-form properties of one image
	Tags          int           // tags of one image
	Members       int           // members of one image
	ImageSize     int64         // bytes of one image
	ProjectImages int           // images of one project
	ProjectBytes  int64         // bytes of all copies of a project's images, those that are arriving included
	StagedBytes   int64         // bytes that a project's images take in the staging area before they are imported
	Formats       image.Formats // formats that images may have whose data is still to come
}

// DefaultLimits are those of an installation that says nothing; the numbers are the Image API's.
func DefaultLimits() Limits {
	return Limits{Properties: 128, Tags: 128, Members: 128, ImageSize: 1 << 40}
}

// Bounds of the form of a record. They keep it far below etcd's limit of 1.5 MiB.
const (
	maxName          = 255
	maxOwner         = 255
	maxTag           = 255
	maxPropertyKey   = 255
	maxPropertyValue = 65535
	maxAllProperties = 256 << 10 // keys and values together
	maxAllTags       = 64 << 10
	mostMembers      = 2048 // even without a limit
)

// checkImage checks the form of a record, and the limits as far as it holds more than before: what is over a limit that
// was lowered may stay. old is nil for a new image.
func (c *Catalog) checkImage(img, old *storev1.Image) error {
	switch {
	case utf8.RuneCountInString(img.Name) > maxName || !utf8.ValidString(img.Name):
		return fault.BadField("image.name", "must be valid UTF-8 of at most %d characters", maxName)
	case utf8.RuneCountInString(img.Owner) > maxOwner || !utf8.ValidString(img.Owner):
		return fault.BadField("image.owner", "must be valid UTF-8 of at most %d characters", maxOwner)
	case img.MinDiskGb < 0 || img.MinRamMb < 0:
		return fault.BadField("image.min_disk", "min_disk and min_ram must not be negative")
	}
	if err := c.checkFormats("image.", img, old); err != nil {
		return err
	}
	if err := c.checkProperties(img.Properties, old.GetProperties()); err != nil {
		return err
	}
	return c.checkTags(img.Tags, old.GetTags())
}

// checkFormats refuses formats that are not accepted here; one that was accepted before may stay.
func (c *Catalog) checkFormats(prefix string, img, old *storev1.Image) error {
	if img.DiskFormat != old.GetDiskFormat() {
		if err := c.limits.Formats.CheckDisk(prefix+"disk_format", img.DiskFormat); err != nil {
			return err
		}
	}
	if img.ContainerFormat != old.GetContainerFormat() {
		return c.limits.Formats.CheckContainer(prefix+"container_format", img.ContainerFormat)
	}
	return nil
}

func (c *Catalog) checkProperties(now, before map[string]string) error {
	if most := c.limits.Properties; most > 0 && len(now) > most && adds(now, before) {
		return fault.New(fault.Exhausted, "PROPERTY_QUOTA", "image.properties: %d properties are more than the limit of %d", len(now), most)
	}
	total := 0
	for k, v := range now {
		total += len(k) + len(v)
		switch {
		case total > maxAllProperties:
			return fault.BadField("image.properties", "all keys and values together have more than %d bytes", maxAllProperties)
		case k == "" || utf8.RuneCountInString(k) > maxPropertyKey || len(v) > maxPropertyValue:
			return fault.BadField("image.properties", "keys have 1 to %d characters, values at most %d bytes", maxPropertyKey, maxPropertyValue)
		case !utf8.ValidString(k) || !utf8.ValidString(v):
			return fault.BadField("image.properties", "keys and values must be valid UTF-8")
		case strings.HasPrefix(k, "os_glance"):
			return fault.BadField("image.properties", "keys starting with os_glance are reserved")
		}
	}
	return nil
}

// adds reports whether now has a key that before has not.
func adds(now, before map[string]string) bool {
	for k := range now {
		if _, had := before[k]; !had {
			return true
		}
	}
	return false
}

func (c *Catalog) checkTags(now, before []string) error {
	total := 0
	for _, t := range now {
		total += len(t)
		if t == "" || utf8.RuneCountInString(t) > maxTag || !utf8.ValidString(t) || total > maxAllTags {
			return fault.BadField("image.tags", "a tag has 1 to %d characters of valid UTF-8, all together at most %d bytes", maxTag, maxAllTags)
		}
	}
	if most := c.limits.Tags; most > 0 && len(now) > most && len(now) > len(before) {
		return fault.New(fault.Exhausted, "TAG_QUOTA", "image.tags: %d tags are more than the limit of %d", len(now), most)
	}
	return nil
}

// Usage is what a project's images take.
type Usage struct {
	Images    int
	Bytes     int64 // copies that are complete or being filled, and data that is arriving
	Staged    int64 // data in the staging area that waits for an import
	Uploading int   // images whose data is arriving or being copied
}

// ProjectUsage adds up what the images of a project take. It looks at every image.
func (c *Catalog) ProjectUsage(project string) Usage {
	var u Usage
	for _, img := range c.records.Images() {
		if img.Owner != project || img.Status == storev1.ImageStatus_IMAGE_STATUS_DELETED {
			continue
		}
		u.Images++
		size := img.Content.GetSizeBytes()
		if img.Staged {
			u.Staged += img.Incoming.GetSizeBytes()
		}
		if img.Status == storev1.ImageStatus_IMAGE_STATUS_UPLOADING {
			u.Staged += size
			u.Uploading++
			continue
		}
		replicas, _ := c.records.Replicas(image.ID(img.Id))
		copies, filling := int64(0), false
		for _, r := range replicas {
			switch r.Phase {
			case storev1.ReplicaPhase_REPLICA_PHASE_DELETING, storev1.ReplicaPhase_REPLICA_PHASE_FAILED:
			case storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE:
				copies++
			default:
				copies++
				filling = true
			}
		}
		u.Bytes += size * copies
		if filling || img.Status == storev1.ImageStatus_IMAGE_STATUS_IMPORTING {
			u.Uploading++
		}
	}
	return u
}

// admit checks a project's limits before bytes more arrive in stores copies; 0 when their number is not known yet.
func (c *Catalog) admit(project string, bytes int64) error {
	if c.limits.ProjectBytes <= 0 {
		return nil
	}
	if u := c.ProjectUsage(project); u.Bytes >= c.limits.ProjectBytes || u.Bytes+bytes > c.limits.ProjectBytes {
		return fault.New(fault.Exhausted, "PROJECT_QUOTA", "the project may store %d bytes and has %d", c.limits.ProjectBytes, u.Bytes)
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
