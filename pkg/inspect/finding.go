package inspect

import (
	"slices"
	"strings"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// Reasons why data is refused.
const (
	ReasonMismatch = "FORMAT_MISMATCH" // it is not what the image is said to be
	ReasonUnsafe   = "FORMAT_UNSAFE"   // no image may have such data
)

// Finding is what an Inspector has found out.
type Finding struct {
	Formats []Format // those recognised, in no particular order; empty: raw
	Size    int64    // bytes of data
	Unsafe  string   // why the data must be refused whatever it is said to be; empty when nothing speaks against it

	virtual int64
	partial bool // more data follows
}

// Format returns the format that the data has, Raw when none is recognised, and false when it is of several at once.
// Partition tables give way to what they may be part of: optical disks that can be written to a stick, and disks with a
// footer behind them.
func (f Finding) Format() (Format, bool) {
	formats := slices.Clone(f.Formats)
	if slices.Contains(formats, ISO) || slices.Contains(formats, VHD) {
		formats = slices.DeleteFunc(formats, partitioned)
	}
	switch len(formats) {
	case 0:
		return Raw, true
	case 1:
		return formats[0], true
	default:
		return "", false
	}
}

// VirtualSize returns the size of the disk that the data describes in bytes: that of the data itself unless its format says
// another.
func (f Finding) VirtualSize() int64 {
	switch format, _ := f.Format(); format {
	case QCOW2, VMDK, VHD, VHDX, VDI:
		return f.virtual
	default:
		return f.Size
	}
}

// Check returns an error unless an image of a disk format may have the data: FORMAT_UNSAFE whatever the disk format is,
// FORMAT_MISMATCH when it has another. The error, which is Invalid, is shown to users.
func (f Finding) Check(disk string) error {
	if f.Unsafe != "" {
		return fault.New(fault.Invalid, ReasonUnsafe, "the data is not safe to use: %s", f.Unsafe)
	}
	found, one := f.Format()
	if !one {
		var names []string
		for _, g := range f.Formats {
			names = append(names, string(g))
		}
		return fault.New(fault.Invalid, ReasonUnsafe, "the data is not safe to use: it can be read as %s", strings.Join(names, " and as "))
	}
	if f.partial && disk == string(VHD) && (found == Raw || partitioned(found)) {
		return nil // the last bytes tell
	}
	if f.matches(found, disk) {
		return nil
	}
	return fault.New(fault.Invalid, ReasonMismatch, "the data is not what disk_format says: %s was expected, %s was found", disk, found)
}

func (f Finding) matches(found Format, disk string) bool {
	switch disk {
	case "raw", "gpt": // gpt is what some installations call whole disks
		// An encrypted volume is a raw disk for everybody without its key; Cinder uploads such volumes as raw ones.
		return found == Raw || partitioned(found) || found == LUKS
	case "ami", "ari", "aki", "ploop": // nothing tells that data is one of those; kernels look like boot sectors
		return found == Raw || found == MBR
	default:
		return string(found) == disk
	}
}

func partitioned(f Format) bool { return f == GPT || f == MBR }
