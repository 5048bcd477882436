package image

import "slices"

// Formats that an image may have; the names are those of the Image API.
var (
	diskFormats      = []string{"ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop"}
	containerFormats = []string{"ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed"}
)

// DiskFormats returns the disk formats an image may have. The slice belongs to the caller.
func DiskFormats() []string { return slices.Clone(diskFormats) }

// ContainerFormats returns the container formats an image may have. The slice belongs to the caller.
func ContainerFormats() []string { return slices.Clone(containerFormats) }

// IsDiskFormat reports whether s is the name of a disk format.
func IsDiskFormat(s string) bool { return slices.Contains(diskFormats, s) }

// IsContainerFormat reports whether s is the name of a container format.
func IsContainerFormat(s string) bool { return slices.Contains(containerFormats, s) }
