package importer

import (
	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/hub/internal/convert"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/inspect"
)

// inspection looks at the data of one image as it comes in.
type inspection struct {
	in      inspect.Inspector
	disk    string // disk format that the image is said to have
	bare    bool   // the data is a disk; what is in other containers is not looked at
	lenient bool   // data of another format is logged and accepted
	most    int64  // size of the largest disk
	log     hclog.Logger
}

// inspection returns what looks at the data of an image.
func (im *Importer) inspection(id image.ID, t treatment) *inspection {
	return &inspection{disk: t.disk, bare: t.bare, lenient: im.Lenient, most: im.largest(), log: im.Log.With("image", string(id))}
}

// largest returns the size of the largest image in bytes.
func (im *Importer) largest() int64 {
	if limit := im.Catalog.Limits().ImageSize; limit > 0 {
		return min(im.MaxSize, limit)
	}
	return im.MaxSize
}

// add looks at the next bytes. It returns an error as soon as it is certain that the data has to be refused.
func (i *inspection) add(p []byte) error {
	if !i.bare {
		return nil
	}
	_, _ = i.in.Write(p) // an inspector never fails
	f, ok := i.in.Soon()
	if !ok {
		return nil
	}
	if err := f.Check(i.disk); err != nil && !i.bearable(err) {
		return err
	}
	return nil
}

// finish returns the size in bytes of the disk that all the data describes, 0 when that is unknown, or why the data has to
// be refused. size is that of the data.
func (i *inspection) finish(size int64) (int64, error) {
	plain := i.disk == "raw" || i.disk == "gpt" || i.disk == "iso"
	if !i.bare {
		if plain {
			return size, nil
		}
		return 0, nil
	}
	f := i.in.Finish()
	if err := f.Check(i.disk); err != nil {
		if !i.bearable(err) {
			return 0, err
		}
		i.log.Warn("data of another format accepted", "error", err)
		if plain {
			return size, nil
		}
		return 0, nil
	}
	if f.VirtualSize() > i.most {
		return 0, fault.New(fault.Exhausted, convert.ReasonTooLarge, "the disk in the image is larger than the limit of %d bytes", i.most)
	}
	switch i.disk {
	case "ami", "ari", "aki", "ploop":
		return 0, nil
	default:
		return f.VirtualSize(), nil
	}
}

func (i *inspection) bearable(err error) bool {
	return i.lenient && fault.ReasonOf(err) == inspect.ReasonMismatch
}
