package replica

import (
	"context"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/pkg/inspect"
)

// inspect returns why a copy that somebody else has made must not be taken over as an image of the wanted format: what a guest has
// written there could be read as something else later, by a program that opens the files it names. It reads little.
func (m *Manager) inspect(ctx context.Context, j job, snap rbd.Reader) error {
	if j.want.format == "" {
		return nil
	}
	found, err := inspect.Look(readerAt{ctx, snap}, snap.Size())
	if err != nil {
		return atStore(err)
	}
	return found.Check(j.want.format)
}

// readerAt is an image for who knows no contexts.
type readerAt struct {
	ctx context.Context
	r   rbd.Reader
}

// ReadAt fills p.
func (r readerAt) ReadAt(p []byte, off int64) (int, error) {
	if err := r.r.ReadAt(r.ctx, p, off); err != nil {
		return 0, err
	}
	return len(p), nil
}
