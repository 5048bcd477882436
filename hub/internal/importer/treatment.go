package importer

import (
	"slices"

	"github.com/atoll-dcn/atoll/hub/internal/convert"
	"github.com/atoll-dcn/atoll/hub/internal/importer/unpack"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/inspect"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// treatment says what may be done with the data of an image on its way in.
type treatment struct {
	disk    string // disk format that the image is said to have
	bare    bool   // the data is a disk; what is in other containers is stored as it comes
	unpack  bool   // compressed data is unpacked
	convert bool   // a disk that is not raw is made raw
}

// convertible are the disk formats that are made raw.
var convertible = []string{string(inspect.QCOW2), string(inspect.VMDK), string(inspect.VHD), string(inspect.VHDX), string(inspect.VDI)}

// treatment returns what may be done with the data of an image. Its formats do not change while the data comes. keep: it is
// stored as it comes.
func (im *Importer) treatment(img *storev1.Image, keep bool) treatment {
	t := treatment{disk: img.GetDiskFormat(), bare: img.GetContainerFormat() == "bare"}
	t.unpack = t.bare && !keep && !im.Packed
	t.convert = t.bare && !keep && !im.Unconverted && slices.Contains(convertible, t.disk)
	return t
}

// check returns NO_CONVERTER when data of the image's format could not be converted here.
func (im *Importer) checkConverter(t treatment) error {
	if !t.convert || t.disk == string(inspect.QCOW2) {
		return nil
	}
	if im.Converter == nil {
		return fault.New(fault.Precondition, convert.ReasonNoConverter, "this hub cannot convert disks of the format %s", t.disk)
	}
	return im.Converter.Check()
}

// compression returns what the data is compressed with that begins with head, None when it is not to be unpacked.
func (t treatment) compression(head []byte) unpack.Compression {
	if !t.unpack {
		return unpack.None
	}
	return unpack.Detect(head)
}

// converts reports whether the disk that begins with head is made raw: when it is what the image says. What is not is
// stored as it comes, if it is accepted at all. all: head is the whole of it.
func (t treatment) converts(head []byte, all bool) bool {
	if !t.convert {
		return false
	}
	var in inspect.Inspector
	_, _ = in.Write(head) // an inspector never fails
	f, known := in.Soon()
	if !known {
		if !all {
			return false // it is shorter than what is needed to know, but not whole: it broke off
		}
		f = in.Finish()
	}
	return f.Check(t.disk) == nil
}
