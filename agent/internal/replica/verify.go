package replica

import (
	"context"
	"errors"
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// verifyPublished compares a published copy with its manifest, by sums where the store makes them, else by reading it. The copy stays published whatever comes out.
func (m *Manager) verifyPublished(ctx context.Context, j job) outcome {
	if err := j.store.checks.take(ctx); err != nil {
		return outcome{}
	}
	defer j.store.checks.give()
	log := m.log.With("image", j.key.Image, "store", j.key.Store, "content", j.want.content)
	log.Info("verification begins", "generation", j.want.verify)
	damaged, err := m.verifyCopy(ctx, j)
	if ctx.Err() != nil {
		return outcome{}
	}
	v := &agentv1.Verification{Generation: j.want.verify, Time: timestamppb.New(m.cfg.Now()), ChunksDamaged: int64(len(damaged))}
	result := "clean"
	switch {
	case err != nil:
		result, v.Failure = "failed", failureOf(err)
		log.Warn("verification not carried out", "error", err)
	case len(damaged) > 0:
		result = "damaged"
		m.metrics.corrupt.WithLabelValues(string(j.key.Store), whereAtRest).Add(float64(len(damaged)))
		log.Error("published copy is damaged", "chunks", len(damaged), "chunk", damaged[0])
	default:
		log.Info("published copy verified")
	}
	m.metrics.verifies.WithLabelValues(string(j.key.Store), result).Inc()
	if err == nil {
		if err := m.rememberVerified(ctx, j, v); err != nil {
			log.Warn("verification not noted", "error", err)
		}
	}
	return outcome{verification: v}
}

func (m *Manager) verifyCopy(ctx context.Context, j job) ([]int, error) {
	snap, err := j.store.pool.OpenSnapshot(ctx, publishedName(j.key.Image))
	if err != nil {
		return nil, atStore(err)
	}
	defer closed(snap)
	content, err := snap.Meta(ctx, metaContent)
	if err != nil {
		return nil, atStore(err)
	}
	root, err := snap.Meta(ctx, metaManifest)
	if err != nil {
		return nil, atStore(err)
	}
	if image.ID(content) != j.want.content {
		return nil, fault.New(fault.Precondition, "NAME_TAKEN", "the pool holds another content of this image")
	}
	sent := m.wantedRoot(j)
	kept := m.loadSums(j, sent)
	var man *manifest.Manifest
	if kept != nil {
		man = kept.Manifest
	} else if man, sent, err = m.fetchManifest(ctx, j); err != nil {
		return nil, err
	}
	if sent.String() != root {
		return nil, fault.New(fault.Corrupt, "CONTENT_DIFFERS", "the published copy was written from another manifest")
	}
	c := &comparison{snap: snap, man: man, stock: j.store.reading, proved: m.proved(j)}
	if j.store.sums {
		c.sums = make([]uint64, len(man.Chunks))
		if kept != nil {
			copy(c.sums, kept.Sums)
		}
	}
	damaged, err := c.run(ctx)
	if err == nil && (kept == nil || c.sums != nil && !c.noSums.Load() && !slices.Equal(kept.Sums, c.sums)) {
		m.keepSums(j, sent, man, c.sums)
	}
	return damaged, err
}

// fetchManifest gets the manifest of a published copy from the hub, for which it waits as long as ctx allows.
func (m *Manager) fetchManifest(ctx context.Context, j job) (*manifest.Manifest, manifest.Digest, error) {
	s := &stream{
		content: j.want.content, flowing: func() {},
		waiting: func(err error) { m.log.Debug("verification waits for the hub", "image", j.key.Image, "error", err) },
	}
	man, root, err := s.read(ctx, m.cfg.Frames, m.hubPolicy())
	if err != nil {
		return nil, root, err
	}
	return man, root, man.Verify(root, frame.Sum)
}

// rememberVerified notes the outcome with the image.
func (m *Manager) rememberVerified(ctx context.Context, j job, v *agentv1.Verification) error {
	return m.firmly(ctx, j.store, func(ctx context.Context) error {
		img, err := j.store.pool.Open(ctx, publishedName(j.key.Image))
		if err != nil {
			return err
		}
		return errors.Join(img.SetMeta(ctx, metaVerified, formatVerified(v)), img.Close())
	})
}
