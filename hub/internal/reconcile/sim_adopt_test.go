package reconcile

import (
	"context"

	"pgregory.net/rapid"

	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// simForeign is a copy in a pool that somebody else has made.
type simForeign struct {
	there     bool // under the image's name, without our marks
	condemned bool // out of sight
	read      bool // the agent knows its digests
	vanished  bool // somebody has removed it, ours or not
	adopted   bool // the hub has called it published
}

const (
	simDigest = "5d41402abc4b2a76b9719d911017c592"
	simSize   = 100
)

// takeOver is one step of an agent for a copy that was adopted or shall be. It returns nil when the goal is none of those.
func (s *sim) takeOver(c *simCopy, d *agentv1.DesiredReplica, o *agentv1.ObservedReplica, fault string) *agentv1.ObservedReplica {
	f := &c.foreign
	adopts := d.Goal == agentv1.Goal_GOAL_ADOPTED
	if !adopts && (d.Goal != agentv1.Goal_GOAL_PRESENT || !d.Adopted) {
		return nil
	}
	if f.condemned {
		f.there, f.condemned = true, false
	}
	if c.condemned != "" && c.condemned == d.Content.ContentId {
		c.published, c.condemned = c.condemned, ""
	}
	ours := c.published != "" && c.published == d.Content.ContentId
	switch {
	case c.failed == d.Generation:
		o.State, o.Failure = agentv1.ReplicaState_REPLICA_STATE_FAILED, &agentv1.Failure{Reason: "BROKEN", Message: "broken"}
	case !f.there && !ours:
		o.State = agentv1.ReplicaState_REPLICA_STATE_ABSENT
	case fault != "":
		c.fails(d, o, fault)
	case adopts && !f.read:
		f.read = true
		o.State, o.Adoption = agentv1.ReplicaState_REPLICA_STATE_VERIFYING, &agentv1.Adoption{SizeBytes: simSize}
	case adopts:
		o.State = agentv1.ReplicaState_REPLICA_STATE_PRESENT
		o.Adoption = &agentv1.Adoption{SizeBytes: simSize, Complete: true, ManifestDigest: make([]byte, 32), Md5: simDigest, Sha512: "5"}
	default:
		if !ours {
			c.published, f.there = d.Content.ContentId, false
		}
		s.vouch(c, d, o)
	}
	return o
}

// nova writes a copy into a store and asks for its adoption.
func (s *sim) nova(t *rapid.T, id image.ID, store image.StoreID) {
	c := s.copyOf(store, id)
	// Whoever writes under the name of a copy that is adopted or just being removed loses it.
	r, _ := s.records.Replica(id, store)
	if r.GetAdopted() || r.GetRemoval() != storev1.Removal_REMOVAL_UNSPECIFIED {
		return
	}
	if rapid.IntRange(0, 4).Draw(t, "written") > 0 && c.published == "" && !c.foreign.there && !c.foreign.condemned {
		c.foreign = simForeign{there: true}
	}
	var expected *storev1.Expected
	switch rapid.IntRange(0, 2).Draw(t, "expected") {
	case 0:
		expected = &storev1.Expected{HashAlgo: "md5", HashValue: simDigest}
	case 1:
		expected = &storev1.Expected{HashAlgo: "md5", HashValue: "00000000000000000000000000000000"}
	}
	_, _ = s.catalog.Adopt(context.Background(), id, store, expected)
}

// vanish removes a copy behind everybody's back, if it is one that was made by somebody else.
func (s *sim) vanish(id image.ID, store image.StoreID) {
	c := s.copyOf(store, id)
	if r, _ := s.records.Replica(id, store); !r.GetAdopted() || c.condemned != "" || c.foreign.condemned {
		return
	}
	c.published, c.clones, c.damaged, c.proof = "", 0, false, nil
	c.foreign = simForeign{vanished: true}
}

// copyOf returns what a pool holds of an image.
func (s *sim) copyOf(store image.StoreID, id image.ID) *simCopy {
	st := s.stores[store]
	if st.copies[id] == nil {
		st.copies[id] = &simCopy{}
	}
	return st.copies[id]
}

// holdsForeign reports whether an adopted copy is there as far as the hub can know.
func (c *simCopy) holdsForeign(r *storev1.Replica) bool {
	f := c.foreign
	return f.vanished || r.Adopted && (f.there || f.condemned)
}
