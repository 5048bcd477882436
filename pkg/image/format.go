package image

import (
	"slices"
	"strings"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// Formats that an image may have, unless an installation says otherwise; the names and their order are those of the Image API.
var (
	diskFormats      = []string{"ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop"}
	containerFormats = []string{"ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed"}
)

// gpt is a disk format that some installations give whole disks; it means the same as raw.
const gpt = "gpt"

// Formats are the formats that an installation accepts for the data of images. The zero value accepts those of the Image API.
// Immutable.
type Formats struct{ disk, container []string }

// ParseFormats returns the formats with the given names; nil lists stand for those of the Image API. An unknown name and an
// empty list are errors that name disk-formats or container-formats.
func ParseFormats(disk, container []string) (Formats, error) {
	var f Formats
	var err error
	if f.disk, err = parseFormats("disk-formats", disk, append(slices.Clone(diskFormats), gpt)); err != nil {
		return Formats{}, err
	}
	if f.container, err = parseFormats("container-formats", container, containerFormats); err != nil {
		return Formats{}, err
	}
	return f, nil
}

func parseFormats(name string, list, known []string) ([]string, error) {
	if list == nil {
		return nil, nil
	}
	if len(list) == 0 {
		return nil, fault.BadField(name, "names no format")
	}
	var out []string
	for _, s := range list {
		switch {
		case !slices.Contains(known, s):
			return nil, fault.BadField(name, "%.30q is none of %s", s, strings.Join(known, ", "))
		case !slices.Contains(out, s):
			out = append(out, s)
		}
	}
	return out, nil
}

// Disk returns the disk formats. The slice belongs to the caller.
func (f Formats) Disk() []string { return slices.Clone(f.disks()) }

// Container returns the container formats. The slice belongs to the caller.
func (f Formats) Container() []string { return slices.Clone(f.containers()) }

// CheckDisk returns an Invalid error that names a field and what is accepted, unless a disk format is accepted. Nothing, which
// says that the format is not known yet, is.
func (f Formats) CheckDisk(field, format string) error { return checkFormat(field, format, f.disks()) }

// CheckContainer does the same for a container format.
func (f Formats) CheckContainer(field, format string) error {
	return checkFormat(field, format, f.containers())
}

func checkFormat(field, format string, accepted []string) error {
	if format == "" || slices.Contains(accepted, format) {
		return nil
	}
	return fault.BadField(field, "%.30q is not accepted; must be null or one of %s", format, strings.Join(accepted, ", "))
}

func (f Formats) disks() []string {
	if f.disk == nil {
		return diskFormats
	}
	return f.disk
}

func (f Formats) containers() []string {
	if f.container == nil {
		return containerFormats
	}
	return f.container
}
