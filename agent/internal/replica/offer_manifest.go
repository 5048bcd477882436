package replica

import (
	"context"
	"encoding/hex"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/manifest"
	"github.com/atoll-dcn/atoll/pkg/retry"
)

// offerManifest finds out the manifest of a published copy and sends it to the hub, which has lost it, as often as the hub
// goes on asking: the offer changes when it has arrived. It returns when something fails or ctx ends. A copy that differs
// from its own mark is never sent.
func (m *Manager) offerManifest(ctx context.Context, k offerKey, snap rbd.Snapshot, log hclog.Logger) error {
	want, err := snap.Meta(ctx, metaManifest)
	if err != nil {
		return atStore(err)
	}
	man, err := m.rebuild(ctx, k, snap)
	if err != nil {
		return err
	}
	if root := man.Root(frame.Sum); hex.EncodeToString(root[:]) != want {
		m.metrics.corrupt.WithLabelValues(string(k.Store), whereAtRest).Inc()
		log.Error("copy is damaged in the store, its manifest is not sent")
		<-ctx.Done() // nothing here will change
		return ctx.Err()
	}
	for {
		if err := m.sendManifest(ctx, k.content, man); err != nil {
			return err
		}
		log.Info("manifest sent again")
		if err := retry.Sleep(ctx, jitter(m.pace.gone)); err != nil {
			return err
		}
	}
}

// rebuild computes the manifest of a copy.
func (m *Manager) rebuild(ctx context.Context, k offerKey, snap rbd.Snapshot) (*manifest.Manifest, error) {
	s := m.stores[k.Store]
	if err := s.adoptions.take(ctx); err != nil {
		return nil, err
	}
	defer s.adoptions.give()
	return describe(ctx, snap)
}
