package reconcile

import (
	"fmt"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

const (
	repairNone     = storev1.Repair_REPAIR_UNSPECIFIED
	repairChecking = storev1.Repair_REPAIR_CHECKING
	repairRemoving = storev1.Repair_REPAIR_REMOVING
	repairFilling  = storev1.Repair_REPAIR_FILLING
	repairRefused  = storev1.Repair_REPAIR_REFUSED
)

// takingAway reports whether a damaged copy is being removed to be made again.
func takingAway(r *storev1.Replica) bool {
	return r.Repair == repairChecking || r.Repair == repairRemoving
}

// planRepairs decides about damaged copies, after all that the sites have said has been taken over: what is good now counts.
func (p *planner) planRepairs() {
	for _, s := range p.stores() {
		switch r := p.replicas[s]; {
		case r.Removal != storev1.Removal_REMOVAL_UNSPECIFIED:
		case takingAway(r):
			p.planRepair(s, r)
		case r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_FAILED && r.Reason == catalog.ReasonDamaged:
			p.planDamaged(s, r)
		}
	}
}

// planDamaged begins to make a quarantined copy again when that is allowed and possible, and says why it is kept when not.
func (p *planner) planDamaged(s image.StoreID, r *storev1.Replica) {
	why, retryable := p.kept(s, r)
	if why == "" {
		r.Repair = repairChecking
		r.Attempts, r.NextAttemptTime = 0, nil
		r.Generation = catalog.NextGeneration(r.Generation, p.w.Now)
		p.planRepair(s, r)
		return
	}
	r.Message, r.Retryable = damageMessage(r, why), retryable
}

// kept returns why a damaged copy is not made again now, and whether the hub looks again by itself; empty when it may be.
func (p *planner) kept(s image.StoreID, r *storev1.Replica) (why string, retryable bool) {
	view := p.w.Stores[s]
	switch {
	case r.Adopted:
		return "it was not made by Atoll and is kept", false
	case r.Repair == repairRefused:
		return "it has dependants and is kept until they are gone and the copy is retried", false
	case !p.w.Settings.Repair:
		return "it is kept until the copy is retried", false
	case p.img.Status != storev1.ImageStatus_IMAGE_STATUS_ACTIVE:
		return "it is kept", true
	case !p.otherGood(s):
		return noOther, true
	case !view.sends():
		return "it is made again when its site can be reached and is not paused", true
	}
	return "", false
}

const noOther = "it is kept because no other site that can be reached holds a good copy"

// otherGood reports whether the data can be had from another copy now. A copy that nobody can reach at the moment does not
// count: it may never come back.
func (p *planner) otherGood(s image.StoreID) bool {
	for other, r := range p.replicas {
		if other != s && r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE && r.Removal == storev1.Removal_REMOVAL_UNSPECIFIED &&
			r.ContentId == p.img.Content.GetId() && p.img.Content.GetComplete() && r.NextAttemptTime == nil && p.w.Stores[other].sends() {
			return true
		}
	}
	return false
}

// planRepair takes a damaged copy away so that it can be written anew. It is given back when the site says that something
// depends on it, or when nobody else has the data any more.
func (p *planner) planRepair(s image.StoreID, r *storev1.Replica) {
	view := p.w.Stores[s]
	if !view.Online && r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_FAILED && r.Reason == reasonOffline {
		return
	}
	p.enter(r, storev1.ReplicaPhase_REPLICA_PHASE_PENDING)
	p.showRepair(r)
	if !view.Online {
		if since := later(view.Since, r.PhaseTime.AsTime()); p.givenUp(view, since) {
			p.failOffline(r, view)
		}
		return
	}
	if r.Repair == repairChecking {
		switch {
		case r.Adopted:
			p.quarantine(r, repairNone, "it was not made by Atoll and is kept")
			return
		case !p.otherGood(s):
			p.quarantine(r, repairNone, noOther)
			return
		case view.Stopped != "":
			return // nothing could be written in its place
		}
	}
	if o := p.observed(r); o != nil {
		p.applyRepair(r, o)
	}
}

// applyRepair takes over what the site says about taking a damaged copy away.
func (p *planner) applyRepair(r *storev1.Replica, o *agentv1.ObservedReplica) {
	switch o.State {
	case agentv1.ReplicaState_REPLICA_STATE_IN_USE:
		p.quarantine(r, repairRefused, "it has dependants and is kept until they are gone and the copy is retried")
	case agentv1.ReplicaState_REPLICA_STATE_FAILED:
		if r.NextAttemptTime == nil {
			r.Attempts++
			r.NextAttemptTime = catalog.Stamp(p.w.Now.Add(backoff(p.w.Settings, r.Attempts)))
		}
		if p.after(r.NextAttemptTime.AsTime(), 0) {
			r.NextAttemptTime = nil
			r.Generation = catalog.NextGeneration(r.Generation, p.w.Now)
		}
	case agentv1.ReplicaState_REPLICA_STATE_ABSENT:
		r.Repair, r.ChunksDamaged = repairFilling, 0
		p.restart(r)
		p.showRepair(r)
	case agentv1.ReplicaState_REPLICA_STATE_CONDEMNED:
		if r.Repair == repairChecking {
			r.Repair = repairRemoving
			r.Attempts, r.NextAttemptTime = 0, nil
			r.Generation = catalog.NextGeneration(r.Generation, p.w.Now)
		}
	}
}

// quarantine keeps a damaged copy where it is, without a location. A site that has taken its name away gives it back.
func (p *planner) quarantine(r *storev1.Replica, state storev1.Repair, why string) {
	p.fail(r, catalog.ReasonDamaged, damageMessage(r, why), false)
	r.Repair = state
	r.Attempts = 0
	r.Generation = catalog.NextGeneration(r.Generation, p.w.Now)
}

// showRepair says why a copy that is not there now is being made, unless something else is in its way.
func (p *planner) showRepair(r *storev1.Replica) {
	switch {
	case takingAway(r):
		r.Reason, r.Message, r.Retryable = catalog.ReasonDamaged, damageMessage(r, "the copy is being made again"), true
	case r.Repair == repairFilling && r.Reason == "":
		r.Reason, r.Message, r.Retryable = catalog.ReasonDamaged, "the damaged copy has been removed; it is being written again", true
	}
}

func damageMessage(r *storev1.Replica, then string) string {
	return fmt.Sprintf("%d chunks differ from the manifest; the location has been withdrawn; %s", r.ChunksDamaged, then)
}
