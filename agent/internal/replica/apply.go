package replica

import (
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// goalForgotten is the goal of a replica that the hub does not name: what is unpublished of it goes.
const goalForgotten = agentv1.Goal_GOAL_UNSPECIFIED

// want is what the hub wants of a replica.
type want struct {
	goal       agentv1.Goal
	generation uint64
	content    image.ID
	size       int64           // 0 while unknown
	root       manifest.Digest // zero while unknown
	verify     uint64
	priority   agentv1.Priority
	base       base   // without its snapshot
	adopted    bool   // somebody else has made the copy
	format     string // disk format that a copy to be adopted must have; empty: whatever it has
}

// inbox collects a desired state that comes in several messages.
type inbox struct {
	revision uint64
	seen     map[key]struct{} // keys named by the snapshot that is arriving; nil outside of one
	offers   []*agentv1.Offer
}

// Apply takes over a message of desired state. It returns at once.
func (m *Manager) Apply(d *agentv1.Desired) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !d.Snapshot && d.Revision != 0 && d.Revision <= m.inbox.revision {
		m.log.Debug("old desired state ignored", "revision", d.Revision)
		return
	}
	if d.Snapshot {
		m.inbox = inbox{seen: make(map[key]struct{})}
	}
	m.inbox.revision = d.Revision
	m.queue.restrict(int(d.ParallelTransfers))
	for _, r := range d.Replicas {
		m.applyReplicaLocked(r, d.Snapshot || m.inbox.seen != nil)
	}
	for _, k := range d.Removed {
		if id, err := image.ParseID("image_id", k.ImageId); err == nil {
			k := key{Store: image.StoreID(k.StoreId), Image: id}
			delete(m.inbox.seen, k)
			m.forgetLocked(k)
		}
	}
	m.inbox.offers = append(m.inbox.offers, d.Offers...)
	if !d.More {
		m.endMessageLocked()
	}
	signal(m.kick)
}

// endMessageLocked acts on what only a whole state tells: what it does not name.
func (m *Manager) endMessageLocked() {
	if m.inbox.seen != nil {
		for k := range m.replicas {
			if _, named := m.inbox.seen[k]; !named {
				m.forgetLocked(k)
			}
		}
		m.inbox.seen, m.complete = nil, true
		for _, s := range m.stores {
			signal(s.scan)
		}
	}
	m.setOffersLocked(m.inbox.offers)
	m.inbox.offers = nil
}

// Offline says that the link is down: an unfinished snapshot will not be continued. Work goes on.
func (m *Manager) Offline() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inbox = inbox{}
}

// applyReplicaLocked takes over one goal. Within a snapshot any generation counts, else only one that is not older.
func (m *Manager) applyReplicaLocked(d *agentv1.DesiredReplica, snapshot bool) {
	k, w, err := parseDesired(d)
	if err != nil {
		m.log.Warn("desired replica ignored", "image", d.ImageId, "store", d.StoreId, "error", err)
		return
	}
	if m.inbox.seen != nil {
		m.inbox.seen[k] = struct{}{}
	}
	r := m.replicas[k]
	if r == nil {
		r = m.addLocked(k)
	}
	if !snapshot && r.want.goal != goalForgotten && w.generation < r.want.generation {
		m.log.Debug("old goal ignored", "image", k.Image, "store", k.Store, "generation", w.generation)
		return
	}
	old := r.want
	if !snapshot && r.seq != 0 && old == w {
		return // only what is said to readers has changed
	}
	r.want = w
	if r.seq == 0 || old.goal != w.goal || old.generation != w.generation || old.content != w.content {
		r.interruptLocked()
	}
	if r.place != nil {
		r.place.raise(rankOf(w.priority))
	}
	signal(r.wake)
	m.ready[k] = struct{}{}
}

func (m *Manager) addLocked(k key) *replica {
	r := &replica{key: k, store: m.stores[k.Store], wake: make(chan struct{}, 1)}
	m.replicas[k] = r
	return r
}

// forgetLocked makes a replica unwanted.
func (m *Manager) forgetLocked(k key) {
	r := m.replicas[k]
	if r == nil || r.want.goal == goalForgotten {
		return
	}
	r.want = want{goal: goalForgotten}
	r.interruptLocked()
	m.ready[k] = struct{}{}
}

// formatOf returns the disk format that a copy to be adopted must have. What is in other containers than bare is not looked
// at, and a hub that says nothing means raw, which is what sites boot from.
func formatOf(d *agentv1.DesiredReplica) string {
	format, container := d.GetMetadata().GetDiskFormat(), d.GetMetadata().GetContainerFormat()
	switch {
	case d.Goal != agentv1.Goal_GOAL_ADOPTED, container != "" && container != "bare":
		return ""
	case format == "":
		return "raw"
	default:
		return format
	}
}

// baseOf returns the base that the hub names. One that makes no sense is none.
func baseOf(b *agentv1.Base) base {
	id, err := image.ParseID("base.image_id", b.GetImageId())
	if err != nil {
		return base{}
	}
	content, err := image.ParseID("base.content_id", b.GetContentId())
	if err != nil {
		return base{}
	}
	return base{image: id, content: content}
}

func parseDesired(d *agentv1.DesiredReplica) (key, want, error) {
	id, err := image.ParseID("image_id", d.ImageId)
	if err != nil {
		return key{}, want{}, err
	}
	w := want{
		goal: d.Goal, generation: d.Generation, size: d.GetContent().GetSizeBytes(), verify: d.VerifyGeneration, adopted: d.Adopted,
		priority: d.Priority,
	}
	switch d.Goal {
	case agentv1.Goal_GOAL_PRESENT, agentv1.Goal_GOAL_ADOPTED:
		if w.content, err = image.ParseID("content.content_id", d.GetContent().GetContentId()); err != nil {
			return key{}, want{}, err
		}
		w.format = formatOf(d)
		w.base = baseOf(d.Base)
	case agentv1.Goal_GOAL_HOLD, agentv1.Goal_GOAL_CONDEMNED, agentv1.Goal_GOAL_ABSENT:
	default:
		return key{}, want{}, fault.BadField("goal", "%d is not a goal this agent knows", d.Goal)
	}
	if w.size < 0 || w.size > manifest.MaxLength {
		return key{}, want{}, fault.BadField("content.size_bytes", "%d is not between 0 and %d", w.size, manifest.MaxLength)
	}
	switch b := d.GetContent().GetManifestDigest(); len(b) {
	case 0:
	case manifest.DigestSize:
		w.root = manifest.Digest(b)
	default:
		return key{}, want{}, fault.BadField("content.manifest_digest", "it has %d bytes", len(b))
	}
	return key{Store: image.StoreID(d.StoreId), Image: id}, w, nil
}
