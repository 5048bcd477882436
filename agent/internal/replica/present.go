package replica

import (
	"context"
	"encoding/hex"
	"errors"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/manifest"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// present carries out GOAL_PRESENT.
func (m *Manager) present(ctx context.Context, j job) outcome {
	out, err := m.lookPublished(ctx, j)
	if err != nil {
		return m.failed(ctx, j, err)
	}
	if out != nil {
		return *out
	}
	track := &tracker{hint: j.want.size}
	m.report(j, func(r *replica) { r.progress = track })
	m.enter(j, agentv1.ReplicaState_REPLICA_STATE_FILLING)
	place := m.lineUp(j)
	defer m.stepOut(j, place)
	f := &fill{
		m: m, j: j, s: j.store, track: track, place: place, proved: m.proved(j),
		log: m.log.With("image", j.key.Image, "store", j.key.Store, "content", j.want.content),
	}
	if err := f.turn(ctx); err != nil {
		return outcome{}
	}
	return f.attempt(ctx)
}

// lineUp puts a fill in line for a place, as far to the front as the hub says now.
func (m *Manager) lineUp(j job) *ticket {
	m.mu.Lock()
	defer m.mu.Unlock()
	j.replica.place = m.queue.enter(j.store, rankOf(j.replica.want.priority))
	return j.replica.place
}

// stepOut takes a fill out of line.
func (m *Manager) stepOut(j job, place *ticket) {
	m.mu.Lock()
	j.replica.place = nil
	m.mu.Unlock()
	place.leave()
}

// lookPublished returns the outcome when the published name is taken, and brings back a condemned copy of the same
// content. It returns nil when the copy has to be written.
func (m *Manager) lookPublished(ctx context.Context, j job) (*outcome, error) {
	s := j.store
	if err := s.looks.take(ctx); err != nil {
		return nil, err
	}
	defer s.looks.give()
	published, err := s.find(ctx, publishedName(j.key.Image))
	if err != nil {
		return nil, err
	}
	if !published.exists {
		condemned, err := s.find(ctx, condemnedName(j.key.Image))
		if err != nil || condemned.content != j.want.content || condemned.root == "" {
			return nil, err
		}
		err = m.firmly(ctx, s, func(ctx context.Context) error {
			return s.pool.Rename(ctx, condemnedName(j.key.Image), publishedName(j.key.Image))
		})
		if err != nil {
			return nil, err
		}
		m.log.Info("condemned copy brought back", "image", j.key.Image, "store", j.key.Store)
		published = condemned
	}
	out, err := m.vouch(ctx, j, published)
	return &out, err
}

// vouch says whether what has the published name is the copy that is wanted.
func (m *Manager) vouch(ctx context.Context, j job, f found) (outcome, error) {
	switch {
	case f.content == "":
		return refused("NAME_TAKEN", "the pool holds an image of this name that was not written by Atoll"), nil
	case f.content != j.want.content:
		return refused("NAME_TAKEN", "the pool holds another content of this image"), nil
	case !f.snapshot || f.root == "":
		return refused("SNAPSHOT_MISSING", "the published copy has lost its snapshot; delete the copy and request it again"), nil
	case j.want.root != manifest.Digest{} && hex.EncodeToString(j.want.root[:]) != f.root:
		return refused("CONTENT_DIFFERS", "the published copy was written from another manifest; delete the copy and request it again"), nil
	}
	if !f.protected {
		if err := m.protect(ctx, j); err != nil {
			return outcome{}, err
		}
	}
	if err := m.dropUnpublished(ctx, j); err != nil && !busy(err) {
		return outcome{}, err
	}
	return outcome{state: agentv1.ReplicaState_REPLICA_STATE_PRESENT, verification: f.verified}, nil
}

// protect makes the published snapshot clonable again.
func (m *Manager) protect(ctx context.Context, j job) error {
	return m.firmly(ctx, j.store, func(ctx context.Context) error {
		img, err := j.store.pool.Open(ctx, publishedName(j.key.Image))
		if err != nil {
			return err
		}
		return errors.Join(img.ProtectSnapshot(ctx), img.Close())
	})
}

// dropUnpublished removes the hidden image, then the journal.
func (m *Manager) dropUnpublished(ctx context.Context, j job) error {
	if err := m.removeName(ctx, j.store, hiddenName(j.key.Image)); err != nil {
		return err
	}
	return m.cfg.Journal.Remove(j.key)
}

// removeName removes an image if it is there.
func (m *Manager) removeName(ctx context.Context, s *store, name string) error {
	err := m.firmly(ctx, s, func(ctx context.Context) error { return s.pool.Remove(ctx, name) })
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// busy reports whether err says that somebody has the image open, as a dead agent seems to for a while.
func busy(err error) bool {
	return fault.Is(err, fault.Precondition) && fault.ReasonOf(err) == "IN_USE"
}

// closed closes a handle at the end of its use; what matters has been flushed.
func closed(r rbd.Reader) {
	if r != nil {
		_ = r.Close()
	}
}
