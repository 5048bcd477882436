package staging

import (
	"context"

	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// Adopt makes a complete content of a manifest alone: its frames come from sites that offer it. When Adopt returns nil the
// manifest survives the loss of power. A content that is there with the same manifest stays as it is; one with another
// manifest, from an earlier reading of a copy that has not been vouched for, is replaced. m is kept. Errors: Corrupt,
// Exists for a content that a Writer appends to, Unavailable (ReasonDisk), Exhausted (ReasonFull).
func (a *Area) Adopt(ctx context.Context, id image.ID, m *manifest.Manifest) error {
	if err := m.Check(); err != nil {
		return err
	}
	if a.Has(id) {
		if _, root, err := a.Manifest(id); err == nil && root == m.Root(frame.Sum) {
			return nil
		}
		a.Forget(id) // another one, or one that the disk has damaged
	}
	w, err := a.Create(id)
	if err != nil {
		return err
	}
	a.mu.Lock()
	w.c.digests, w.c.bytes = m.Chunks, m.Length
	a.found(id)
	a.mu.Unlock()
	if _, _, err := w.Commit(ctx, m.Length); err != nil {
		w.Abort("the manifest could not be stored")
		a.Forget(id)
		return err
	}
	a.o.Log.Info("manifest of a site's copy stored", "content", id, "bytes", m.Length, "data_bytes", m.DataBytes())
	return nil
}

// Has reports whether the area knows a content that is complete.
func (a *Area) Has(id image.ID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.contents[id]
	return c != nil && c.state == complete
}
