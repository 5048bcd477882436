package replica

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// A copy that somebody else has published is taken over in two goals, so that nothing of it changes before the hub has
// said yes to what it holds: GOAL_ADOPTED reads it and reports, GOAL_PRESENT for an adopted copy then marks it as one of
// ours. An agent that dies in between reads it again. Nothing is ever written to its bytes.

// adopt carries out GOAL_ADOPTED.
func (m *Manager) adopt(ctx context.Context, j job) outcome {
	claim, out := m.claim(ctx, j)
	if out != nil {
		return *out
	}
	size := claim.size
	m.report(j, func(r *replica) { r.adoption = &agentv1.Adoption{SizeBytes: size} })
	d, out := m.readClaim(ctx, j, claim)
	if out != nil {
		return *out
	}
	if err := m.sendManifest(ctx, j.want.content, d.man); err != nil {
		return m.failed(ctx, j, err)
	}
	m.report(j, func(r *replica) { r.digested, r.root = j.want.content, d.root })
	return outcome{
		state: agentv1.ReplicaState_REPLICA_STATE_PRESENT,
		adoption: &agentv1.Adoption{
			SizeBytes: size, DataBytes: d.man.DataBytes(), Complete: true, ManifestDigest: d.root[:],
			Md5: d.md5, Sha1: d.sha1, Sha256: d.sha256, Sha512: d.sha512,
		},
	}
}

// presentAdopted carries out GOAL_PRESENT for a copy that has been adopted: it vouches for it, and marks it first.
func (m *Manager) presentAdopted(ctx context.Context, j job) outcome {
	claim, out := m.claim(ctx, j)
	if out != nil {
		return *out
	}
	if claim.content != j.want.content || claim.root == "" {
		if out := m.mark(ctx, j, claim); out != nil {
			return *out
		}
	}
	vouched, err := m.lookPublished(ctx, j)
	switch {
	case err != nil:
		return m.failed(ctx, j, err)
	case vouched == nil: // it vanished just now
		return outcome{state: agentv1.ReplicaState_REPLICA_STATE_ABSENT}
	default:
		return *vouched
	}
}

// claim is a copy that somebody else may have made.
type claim struct {
	found
	size int64 // of its snapshot
}

// claim finds the published copy and makes sure that it is one to be taken over, with a snapshot that nobody can remove
// by accident. The outcome is not nil when there is no such copy.
func (m *Manager) claim(ctx context.Context, j job) (claim, *outcome) {
	c, out, err := m.lookClaim(ctx, j)
	if err != nil {
		out = m.unread(ctx, j, err)
	}
	return c, out
}

// unread returns the outcome of an error of the store. A copy that went away just now is looked at again.
func (m *Manager) unread(ctx context.Context, j job, err error) *outcome {
	if isStore(err) && fault.Is(err, fault.NotFound) {
		return &outcome{again: jitter(m.pace.busy)}
	}
	failed := m.failed(ctx, j, err)
	return &failed
}

func (m *Manager) lookClaim(ctx context.Context, j job) (c claim, out *outcome, err error) {
	s := j.store
	if err := s.looks.take(ctx); err != nil {
		return c, nil, err
	}
	defer s.looks.give()
	if c.found, err = m.findClaim(ctx, j); err != nil {
		return c, nil, err
	}
	switch {
	case !c.exists:
		return c, &outcome{state: agentv1.ReplicaState_REPLICA_STATE_ABSENT}, nil
	case !c.snapshot:
		return c, refusal("SNAPSHOT_MISSING", "the image in the pool has no snapshot named %s", rbd.SnapshotName), nil
	case !c.protected:
		if err := m.protect(ctx, j); err != nil {
			return c, nil, err
		}
	}
	snap, err := s.pool.OpenSnapshot(ctx, publishedName(j.key.Image))
	if err != nil {
		return c, nil, atStore(err)
	}
	defer closed(snap)
	switch c.size = snap.Size(); {
	case c.size < 1 || c.size > manifest.MaxLength:
		return c, refusal("COPY_SIZE", "the copy has %d bytes; 1 to %d can be taken over", c.size, manifest.MaxLength), nil
	case j.want.size != 0 && j.want.size != c.size:
		return c, refusal("COPY_CHANGED", "the copy has another length than when it was adopted"), nil
	}
	return c, nil, m.inspect(ctx, j, snap)
}

func refusal(reason, format string, args ...any) *outcome {
	out := refused(reason, format, args...)
	return &out
}

// findClaim looks at the published name, and brings back a copy that was condemned and then kept.
func (m *Manager) findClaim(ctx context.Context, j job) (found, error) {
	s := j.store
	live, dead := publishedName(j.key.Image), condemnedName(j.key.Image)
	f, err := s.find(ctx, live)
	if err != nil || f.exists {
		return f, err
	}
	f, err = s.find(ctx, dead)
	if err != nil || !f.exists || f.content != "" && f.content != j.want.content {
		return found{}, err
	}
	return f, m.firmly(ctx, s, func(ctx context.Context) error { return s.pool.Rename(ctx, dead, live) })
}

// readClaim reads all of a copy. The outcome is not nil when that did not succeed.
func (m *Manager) readClaim(ctx context.Context, j job, c claim) (*digests, *outcome) {
	track := &tracker{hint: c.size}
	m.report(j, func(r *replica) { r.progress = track })
	m.enter(j, agentv1.ReplicaState_REPLICA_STATE_VERIFYING)
	if err := j.store.adoptions.take(ctx); err != nil {
		return nil, &outcome{}
	}
	defer j.store.adoptions.give()
	log := m.log.With("image", j.key.Image, "store", j.key.Store, "content", j.want.content)
	log.Info("reading a copy that was made by somebody else", "bytes", c.size)
	began := m.cfg.Now()
	stop := m.reportProgress(ctx, j, track)
	d, out, err := m.digestClaim(ctx, j, c, track)
	stop()
	count := m.metrics.adoptions.MustCurryWith(prometheus.Labels{"store": string(j.key.Store)})
	switch {
	case ctx.Err() != nil:
		count.WithLabelValues("interrupted").Inc()
		return nil, &outcome{}
	case err != nil:
		count.WithLabelValues("failed").Inc()
		return nil, m.unread(ctx, j, err)
	case out != nil:
		count.WithLabelValues("changed").Inc()
		return nil, out
	default:
		count.WithLabelValues("read").Inc()
		log.Info("copy has been read", "digest", d.root.String(), "data_bytes", d.man.DataBytes(), "took", m.cfg.Now().Sub(began))
		return d, nil
	}
}

// digestClaim reads a copy. The outcome is not nil when it is no longer what was found before it was read. Its snapshot is
// protected all the time, so that nobody replaces it by accident.
func (m *Manager) digestClaim(ctx context.Context, j job, c claim, track *tracker) (*digests, *outcome, error) {
	snap, err := j.store.pool.OpenSnapshot(ctx, publishedName(j.key.Image))
	if err != nil {
		return nil, nil, atStore(err)
	}
	defer closed(snap)
	if err := m.inspect(ctx, j, snap); err != nil {
		return nil, nil, err
	}
	d, err := digest(ctx, snap, track)
	if err != nil {
		return nil, nil, err
	}
	now, out, err := m.lookClaim(ctx, j)
	if err == nil && out == nil && (!now.protected || now.size != c.size || d.man.Length != c.size) {
		out = refusal("COPY_CHANGED", "the copy was replaced while it was read")
	}
	return d, out, err
}

// sendManifest gives the hub a manifest. It waits for the hub as long as ctx allows.
func (m *Manager) sendManifest(ctx context.Context, content image.ID, man *manifest.Manifest) error {
	wait := m.hubPolicy().Backoff()
	for {
		limited, cancel := context.WithTimeout(ctx, m.pace.firm)
		err := m.cfg.Frames.PutManifest(limited, content, man)
		cancel()
		if err == nil || ctx.Err() != nil || !hubWait(err) {
			return errors.Join(err, ctx.Err())
		}
		m.log.Debug("manifest not taken yet", "content", content, "error", err)
		if err := wait.Wait(ctx); err != nil {
			return err
		}
	}
}

// mark makes an adopted copy one of ours, once it is certain that it holds what the hub says. The outcome is not nil when
// it does not, or the marks could not be made. The content comes last: with it the copy is complete.
func (m *Manager) mark(ctx context.Context, j job, c claim) *outcome {
	root := m.knownRoot(j)
	if root == (manifest.Digest{}) {
		d, out := m.readClaim(ctx, j, c)
		if out != nil {
			return out
		}
		root = d.root
	}
	if root != j.want.root {
		return refusal("CONTENT_DIFFERS", "the copy differs from what was adopted; delete it and request it again")
	}
	verified := formatVerified(&agentv1.Verification{Time: timestamppb.New(m.cfg.Now())})
	err := m.firmly(ctx, j.store, func(ctx context.Context) error {
		img, err := j.store.pool.Open(ctx, publishedName(j.key.Image))
		if err != nil {
			return err
		}
		for _, kv := range [][2]string{
			{metaVerified, verified}, {metaManifest, root.String()}, {metaImage, string(j.key.Image)}, {metaContent, string(j.want.content)},
		} {
			if err := img.SetMeta(ctx, kv[0], kv[1]); err != nil {
				return errors.Join(err, img.Close())
			}
		}
		return img.Close()
	})
	if err != nil {
		failed := m.failed(ctx, j, err)
		return &failed
	}
	m.log.Info("copy taken over", "image", j.key.Image, "store", j.key.Store, "content", j.want.content)
	return nil
}

// knownRoot returns what this agent has found when it read the copy; zero when it has not.
func (m *Manager) knownRoot(j job) manifest.Digest {
	m.mu.Lock()
	defer m.mu.Unlock()
	if j.replica.digested == j.want.content {
		return j.replica.root
	}
	return manifest.Digest{}
}
