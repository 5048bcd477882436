package importer

import (
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// usageStep is how many bytes come in before the project's usage is added up again, which looks at every image.
const usageStep = 16 * manifest.ChunkSize

// track makes the data of an operation count until done is called.
func (im *Importer) track(op image.ID, size int64) (a *arrival, done func()) {
	o, _ := im.Catalog.Read().Operation(op)
	img, _ := im.Catalog.Read().Image(image.ID(o.GetImageId()))
	a = &arrival{
		image: image.ID(o.GetImageId()), project: img.GetOwner(), copies: max(1, int64(len(o.GetStores()))),
		staged: o.GetKind() == storev1.OperationKind_OPERATION_KIND_STAGE, speed: speed{now: im.Now},
	}
	a.expected.Store(size)
	a.enter(PhaseReceiving)
	a.speed.add(0)
	im.mu.Lock()
	im.incoming[op] = a
	im.mu.Unlock()
	return a, func() {
		im.mu.Lock()
		delete(im.incoming, op)
		im.mu.Unlock()
	}
}

// beyond returns the bytes that have been stored for a project and that no record counts yet.
func (im *Importer) beyond(project string, staged bool) int64 {
	im.mu.Lock()
	defer im.mu.Unlock()
	var n int64
	for _, a := range im.incoming {
		if a.project == project && a.staged == staged {
			img, _ := im.Catalog.Read().Image(a.image) // counts what its source has announced
			n += max(0, a.stored.Load()-img.GetContent().GetSizeBytes()) * a.copies
		}
	}
	return n
}

// checkQuota counts length bytes of a as stored and stops the data when its project has reached a limit: what is still
// coming in counts too, so several uploads cannot beat the limit together.
func (im *Importer) checkQuota(a *arrival, length int64, last bool) error {
	a.stored.Store(length)
	limits := im.Catalog.Limits()
	most := limits.ProjectBytes
	if a.staged {
		most = limits.StagedBytes
	}
	if most <= 0 || length < a.next && !last {
		return nil
	}
	a.next = length + usageStep
	used := im.Catalog.ProjectUsage(a.project)
	switch {
	case a.staged && used.Staged+im.beyond(a.project, true) > most:
		return fault.New(fault.Exhausted, "STAGING_QUOTA", "the project may stage %d bytes", most)
	case !a.staged && used.Bytes+im.beyond(a.project, false) > most:
		return fault.New(fault.Exhausted, "PROJECT_QUOTA", "the project may store %d bytes", most)
	}
	return nil
}

// admitDisk checks whether a whole disk of size bytes may be stored, before any record counts it.
func (im *Importer) admitDisk(a *arrival, size int64) error {
	most := im.Catalog.Limits().ProjectBytes
	if most <= 0 {
		return nil
	}
	if im.Catalog.ProjectUsage(a.project).Bytes+im.beyond(a.project, false)+size*a.copies > most {
		return fault.New(fault.Exhausted, "PROJECT_QUOTA", "the disk has %d bytes, and the project may store %d", size, most)
	}
	return nil
}
