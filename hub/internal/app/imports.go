package app

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/importer"
	"github.com/atoll-dcn/atoll/hub/internal/osinfo"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

// ImportConfig is about what happens to the data of imports on its way in.
type ImportConfig struct {
	Conversion    string // raw or none
	Decompression bool
}

// What disks are made into that are imported.
const (
	convertRaw  = "raw"
	convertNone = "none"
)

func (c *Config) treatment(f *pflag.FlagSet) {
	i := &c.Imports
	f.StringVar(&i.Conversion, "import-conversion", convertRaw,
		"what imported qcow2, vmdk, vhd, vhdx and vdi disks are made into: raw, which RBD can clone, or none, which stores them as they come")
	f.BoolVar(&i.Decompression, "import-decompression", true, "unpack imported disks that are compressed with gzip, xz, zstd or bzip2")
}

func (c ImportConfig) check() error {
	if c.Conversion != convertRaw && c.Conversion != convertNone {
		return fault.BadField("import-conversion", "must be %s or %s", convertRaw, convertNone)
	}
	return nil
}

// importer returns what brings data in.
func (h *hub) importer(cat *catalog.Catalog) (*importer.Importer, error) {
	log := h.log.Named("importer")
	converter, err := h.converter(log.Named("qemu-img"))
	if err != nil {
		return nil, err
	}
	return importer.New(importer.Config{
		Catalog: cat, Outside: h.access.fetch.users, Area: h.area, MaxSize: h.Limits.ImageSize, Lenient: h.FormatMatch == formatWarn,
		Packed: !h.Imports.Decompression, Unconverted: h.Imports.Conversion == convertNone, Converter: converter,
		Inject: h.access.inject, Signatures: h.access.signatures, DetectOS: osinfo.Detect,
		Now: time.Now, Log: log,
	}), nil
}
