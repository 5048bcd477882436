package replica

import (
	"context"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
	"github.com/atoll-dcn/atoll/pkg/retry"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// offerKey names an offer.
type offerKey struct {
	key
	content  image.ID
	manifest bool // the hub has lost the manifest
}

// offer is an offer that should be running. Guarded by Manager.mu.
type offer struct {
	running bool
	ended   bool // no longer listed
	cancel  context.CancelFunc
}

// setOffersLocked makes the list the offers that run.
func (m *Manager) setOffersLocked(list []*agentv1.Offer) {
	listed := make(map[offerKey]struct{}, len(list))
	for _, o := range list {
		k, err := parseOffer(o)
		if err != nil || m.stores[k.Store] == nil {
			m.log.Warn("offer ignored", "image", o.ImageId, "store", o.StoreId, "error", err)
			continue
		}
		listed[k] = struct{}{}
		if m.offers[k] == nil {
			m.offers[k] = &offer{}
		}
	}
	for k, o := range m.offers {
		if _, ok := listed[k]; ok {
			continue
		}
		delete(m.offers, k)
		o.ended = true
		if o.cancel != nil {
			o.cancel()
		}
	}
}

func parseOffer(o *agentv1.Offer) (offerKey, error) {
	id, err := image.ParseID("image_id", o.ImageId)
	if err != nil {
		return offerKey{}, err
	}
	content, err := image.ParseID("content.content_id", o.GetContent().GetContentId())
	if err != nil {
		return offerKey{}, err
	}
	return offerKey{key: key{Store: image.StoreID(o.StoreId), Image: id}, content: content, manifest: o.Manifest}, nil
}

// runOffer serves an offer until it is no longer listed or ctx ends.
func (m *Manager) runOffer(ctx context.Context, k offerKey, o *offer) {
	m.mu.Lock()
	ctx, cancel := context.WithCancel(ctx)
	o.cancel = cancel
	if o.ended {
		cancel()
	}
	m.mu.Unlock()
	defer cancel()
	log := m.log.With("image", k.Image, "store", k.Store, "content", k.content)
	log.Info("offer begins")
	defer log.Info("offer ends")
	wait := m.hubPolicy().Backoff()
	for ctx.Err() == nil {
		served, err := m.serveOffer(ctx, k, log)
		if ctx.Err() != nil {
			return
		}
		if served {
			wait.Reset()
		}
		log.Warn("offer interrupted", "error", err)
		if wait.Wait(ctx) != nil {
			return
		}
	}
}

// serveOffer sends what the hub asks for until something fails. served says whether anything was sent.
func (m *Manager) serveOffer(ctx context.Context, k offerKey, log hclog.Logger) (served bool, _ error) {
	s := m.stores[k.Store]
	snap, err := s.pool.OpenSnapshot(ctx, publishedName(k.Image))
	if err != nil {
		return false, atStore(err)
	}
	defer closed(snap)
	content, err := snap.Meta(ctx, metaContent)
	if err != nil {
		return false, atStore(err)
	}
	if image.ID(content) != k.content {
		return false, fault.New(fault.Precondition, "NAME_TAKEN", "the pool holds another content of this image")
	}
	if k.manifest {
		return false, m.offerManifest(ctx, k, snap, log)
	}
	g, ctx := errgroup.WithContext(ctx)
	wanted := make(chan int)
	g.Go(func() error {
		defer close(wanted)
		for {
			list, err := m.cfg.Frames.Demand(ctx, k.content, 2*readers)
			if err != nil {
				return err
			}
			for _, i := range list {
				select {
				case wanted <- i:
					served = true
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
	})
	for range readers {
		g.Go(func() error { return m.sendChunks(ctx, k, snap, wanted, log) })
	}
	err = g.Wait()
	return served, err
}

func (m *Manager) sendChunks(ctx context.Context, k offerKey, snap rbd.Snapshot, wanted <-chan int, log hclog.Logger) error {
	for i := range wanted {
		if err := m.sendChunk(ctx, k, snap, i, log); err != nil {
			return err
		}
	}
	return nil
}

// sendChunk reads one chunk and sends it. It holds a buffer only meanwhile, so that idle offers hold none.
func (m *Manager) sendChunk(ctx context.Context, k offerKey, snap rbd.Snapshot, i int, log hclog.Logger) error {
	s := m.stores[k.Store]
	buf, err := s.sending.get(ctx)
	if err != nil {
		return err
	}
	defer s.sending.put(buf)
	b := buf[:manifest.ChunkLen(snap.Size(), i)]
	if len(b) == 0 {
		return fault.New(fault.Invalid, "BAD_DEMAND", "the hub asks for chunk %d, which the copy does not have", i)
	}
	if err := readChunk(ctx, snap, b, i); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, m.pace.frame)
	defer cancel()
	err = m.cfg.Frames.Put(limited, k.content, i, b, frame.Raw)
	if fault.Is(err, fault.Corrupt) {
		// The hub asks somebody else, or again after the lease. Slow down, for nothing here will change.
		m.metrics.corrupt.WithLabelValues(string(k.Store), whereAtRest).Inc()
		log.Error("offered chunk is damaged in the store", "chunk", i)
		return retry.Sleep(ctx, jitter(m.pace.hubMax))
	}
	if err != nil {
		return err
	}
	m.metrics.offered.WithLabelValues(string(k.Store)).Add(float64(len(b)))
	return nil
}
