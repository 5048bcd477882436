package reconcile

import (
	"fmt"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Reasons of copies that were made by somebody else, and of those that wait for one.
const (
	reasonNoCopy     = "COPY_NOT_FOUND"   // the store does not hold what should be adopted
	reasonLost       = "COPY_LOST"        // an adopted copy has vanished
	reasonChanged    = "COPY_CHANGED"     // it is no longer what was adopted
	reasonMismatch   = "DIGEST_MISMATCH"  // it has not the digest that the caller expects
	reasonSource     = "SOURCE_PENDING"   // the adopted copy is being read
	reasonSourceLost = "SOURCE_COPY_LOST" // the adopted copy cannot be read any more
)

// adoptedGoal returns what becomes of the goal to have a copy while the content of the image still has to be found out
// from an adopted copy: that one is read, others wait for it.
func adoptedGoal(goal agentv1.Goal, img *storev1.Image, r *storev1.Replica) agentv1.Goal {
	c := img.GetContent()
	switch {
	case goal != agentv1.Goal_GOAL_PRESENT || c.GetAdoptedFrom() == "" || c.GetComplete():
		return goal
	case !r.Adopted || r.NextAttemptTime != nil:
		return agentv1.Goal_GOAL_HOLD
	default:
		return agentv1.Goal_GOAL_ADOPTED
	}
}

// planSource moves a replica whose image has a content that is still to be found out from an adopted copy. It reports
// whether this is such a one.
func (p *planner) planSource(s image.StoreID, r *storev1.Replica) bool {
	c := p.img.Content
	switch {
	case c.GetAdoptedFrom() == "":
		return false
	case c.Complete:
		p.sourceReady(r)
		return false
	case r.Adopted:
		p.planAdopted(s, r)
	default:
		p.awaitSource(r)
	}
	return true
}

// planAdopted applies what the site has found out about a copy that is being adopted.
func (p *planner) planAdopted(s image.StoreID, r *storev1.Replica) {
	active := r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE
	switch {
	case r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_FAILED:
		p.planFailed(s, r)
		return
	case !active && !p.w.Stores[s].Online:
		p.planFilling(s, r) // waits for the site, within limits
		return
	case !p.attemptDue(r):
		return
	}
	o := p.observed(r)
	if o == nil {
		return
	}
	switch a := o.Adoption; {
	case o.State == agentv1.ReplicaState_REPLICA_STATE_ABSENT && active:
		p.lost(r)
	case o.State == agentv1.ReplicaState_REPLICA_STATE_ABSENT:
		p.fail(r, reasonNoCopy, "the store holds no such copy", false)
	case o.State == agentv1.ReplicaState_REPLICA_STATE_FAILED && active:
		p.planActive(s, r)
	case o.State == agentv1.ReplicaState_REPLICA_STATE_FAILED:
		p.apply(s, r, o)
	case a.GetSizeBytes() <= 0, ofAnother(o, r):
	case p.img.Content.SizeBytes != 0 && p.img.Content.SizeBytes != a.SizeBytes:
		p.fail(r, reasonChanged, "the copy has another length than when it was adopted", false)
	default:
		p.confirm(s, r, a)
	}
}

// ofAnother reports whether the site speaks of another content, for a replica of the same name that was there before.
func ofAnother(o *agentv1.ObservedReplica, r *storev1.Replica) bool {
	return o.ContentId != "" && o.ContentId != r.ContentId
}

// confirm takes over that the copy is there and, once the site knows, what it holds.
func (p *planner) confirm(s image.StoreID, r *storev1.Replica, a *agentv1.Adoption) {
	p.img.Content.SizeBytes = a.SizeBytes
	r.Reason, r.Message, r.Retryable, r.Attempts = "", "", false, 0
	expected := p.expected(s)
	known := a.Complete && len(a.ManifestDigest) == manifest.DigestSize
	switch {
	case known && expected != nil && digestOf(a, expected.HashAlgo) != expected.HashValue:
		p.fail(r, reasonMismatch, fmt.Sprintf("the copy has another %s digest than expected", expected.HashAlgo), false)
		return
	case !known && expected != nil:
		p.enter(r, storev1.ReplicaPhase_REPLICA_PHASE_VERIFYING)
		return
	}
	p.enter(r, storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE)
	r.Location = p.location(s, r)
	if !known {
		return
	}
	c := p.img.Content
	c.Complete, c.ManifestDigest, c.DataBytes, c.Md5, c.Sha512 = true, a.ManifestDigest, a.DataBytes, a.Md5, a.Sha512
	p.img.UpdateTime = catalog.Stamp(p.w.Now)
	r.VerifyTime = catalog.Stamp(p.w.Now)
	r.Generation = catalog.NextGeneration(r.Generation, p.w.Now) // from now on the site vouches for it by its manifest
}

func (p *planner) location(s image.StoreID, r *storev1.Replica) string {
	view := p.w.Stores[s]
	return image.Location{Driver: view.Driver, FSID: view.FSID, Pool: view.Pool, Image: image.ID(r.ImageId)}.URL()
}

// digestOf returns one of the digests that a site has found.
func digestOf(a *agentv1.Adoption, algo string) string {
	return map[string]string{"md5": a.Md5, "sha1": a.Sha1, "sha256": a.Sha256, "sha512": a.Sha512}[algo]
}

// adopting returns the running operation that adopts the copy in a store; nil if there is none.
func (p *planner) adopting(s image.StoreID) *storev1.Operation {
	for _, o := range p.ops {
		if o.Kind == storev1.OperationKind_OPERATION_KIND_ADOPT && o.State == running && o.Stores[0].StoreId == string(s) {
			return o
		}
	}
	return nil
}

// expected returns the digest that the caller of an adoption wants the copy to have; nil for none.
func (p *planner) expected(s image.StoreID) *storev1.Expected { return p.adopting(s).GetExpected() }

// disown forgets a copy whose adoption has not come to an end: it belongs to whoever has made it, so the site is not told
// to remove anything. It reports whether this was one.
func (p *planner) disown(s image.StoreID) bool {
	if r := p.replicas[s]; r == nil || !r.Adopted || p.adopting(s) == nil {
		return false
	}
	delete(p.replicas, s)
	return true
}

// lost deals with an adopted copy that has vanished: it is written again if another store has the content.
func (p *planner) lost(r *storev1.Replica) {
	for _, other := range p.replicas {
		if other.StoreId != r.StoreId && other.Phase == storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE {
			r.Adopted = false
			p.restart(r)
			return
		}
	}
	p.fail(r, reasonLost, "the copy is no longer in the store, and no other store has one", false)
}

// awaitSource keeps a copy back until the adopted copy it is made from has been read.
func (p *planner) awaitSource(r *storev1.Replica) {
	from := image.StoreID(p.img.Content.AdoptedFrom)
	source := p.replicas[from]
	switch {
	case source == nil || source.Removal != storev1.Removal_REMOVAL_UNSPECIFIED || source.Phase == storev1.ReplicaPhase_REPLICA_PHASE_FAILED:
		if r.Reason != reasonSourceLost {
			p.fail(r, reasonSourceLost, fmt.Sprintf("the copy in store %s, the only one, cannot be read", from), true)
		}
	case r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_FAILED && r.Reason != reasonSourceLost:
	default:
		p.enter(r, storev1.ReplicaPhase_REPLICA_PHASE_PENDING)
		r.Reason, r.Message, r.Retryable = reasonSource, fmt.Sprintf("waits until the copy in store %s has been read", from), true
		r.NextAttemptTime = nil
	}
}

// sourceReady lets a copy go on that waited for the adopted one.
func (p *planner) sourceReady(r *storev1.Replica) {
	if r.Reason == reasonSource || r.Reason == reasonSourceLost {
		p.restart(r)
	}
}

// planAdopt ends an adoption: with success once the copy is published, else by forgetting it.
func (p *planner) planAdopt(o *storev1.Operation) {
	if p.img.Status == storev1.ImageStatus_IMAGE_STATUS_DELETING {
		return
	}
	part := o.Stores[0]
	s := image.StoreID(part.StoreId)
	r := p.replicas[s]
	switch {
	case r.GetPhase() == storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE:
		p.endPart(part, succeeded, nil)
		p.end(o, succeeded, nil)
	case o.Undoing != notSet:
		p.disown(s)
		p.cancelPart(part)
		p.end(o, o.Undoing, o.Error)
	case r == nil || r.Removal != storev1.Removal_REMOVAL_UNSPECIFIED:
		p.cancelPart(part)
		state, err := verdict(o)
		p.end(o, state, err)
	case r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_FAILED:
		p.disown(s)
		p.endPart(part, failed, &storev1.OperationError{Code: codeOf(fault.Precondition), Reason: r.Reason, Message: r.Message})
		state, err := verdict(o)
		p.end(o, state, err)
	}
}
