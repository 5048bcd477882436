package reconcile

import (
	"fmt"
	"time"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// reasonOffline is the reason of a copy that waited too long for its site; it goes on when the site returns.
const reasonOffline = "SITE_OFFLINE"

// planReplica moves one wanted replica: applies what its site reports, and the time limits.
func (p *planner) planReplica(s image.StoreID) {
	r := p.replicas[s]
	if r.Removal != storev1.Removal_REMOVAL_UNSPECIFIED {
		return
	}
	// An import that restarted has a new content; the site keeps the chunks that are the same.
	if id := p.img.Content.GetId(); id != "" && r.ContentId != id {
		r.ContentId = id
		p.restart(r)
	}
	switch {
	case p.planSource(s, r):
	case r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_FAILED:
		p.planFailed(s, r)
	case r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE:
		p.planActive(s, r)
	default:
		p.planFilling(s, r)
	}
}

// planFilling handles Pending, Transferring and Verifying.
func (p *planner) planFilling(s image.StoreID, r *storev1.Replica) {
	view := p.w.Stores[s]
	if p.pause(view, r) {
		return
	}
	if !view.Online {
		since := view.Since
		if asked := r.PhaseTime.AsTime(); asked.After(since) { // or asked for again
			since = asked
		}
		if p.givenUp(view, since) {
			p.fail(r, reasonOffline, fmt.Sprintf("site %s has been offline since %s", r.SiteId, view.Since.UTC().Format(time.RFC3339)), true)
		}
		return
	}
	if !p.attemptDue(r) {
		return
	}
	if o := p.observed(r); o != nil {
		p.apply(s, r, o)
	}
}

// attemptDue starts the next attempt when its time has come. It reports whether the replica is not waiting for one.
func (p *planner) attemptDue(r *storev1.Replica) bool {
	if r.NextAttemptTime == nil {
		return true
	}
	if p.after(r.NextAttemptTime.AsTime(), 0) {
		r.NextAttemptTime = nil
		r.Generation = catalog.NextGeneration(r.Generation, p.w.Now)
	}
	return false
}

// apply takes over what the site reports about a wanted copy.
func (p *planner) apply(s image.StoreID, r *storev1.Replica, o *agentv1.ObservedReplica) {
	switch o.State {
	case agentv1.ReplicaState_REPLICA_STATE_FILLING:
		p.enter(r, storev1.ReplicaPhase_REPLICA_PHASE_TRANSFERRING)
		r.Location = ""
		r.Reason, r.Message, r.Retryable = o.Failure.GetReason(), o.Failure.GetMessage(), o.Failure != nil
	case agentv1.ReplicaState_REPLICA_STATE_VERIFYING:
		p.enter(r, storev1.ReplicaPhase_REPLICA_PHASE_VERIFYING)
		r.Reason, r.Message, r.Retryable = "", "", false
	case agentv1.ReplicaState_REPLICA_STATE_PRESENT:
		if !p.img.Content.GetComplete() || ofAnother(o, r) {
			return // cannot be: the site publishes only what has a root digest
		}
		p.enter(r, storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE)
		r.Location = p.location(s, r)
		r.Reason, r.Message, r.Retryable, r.Attempts = "", "", false, 0
		p.img.FailedStores = without(p.img.FailedStores, r.StoreId)
		p.applyVerification(r, o.Verification)
	case agentv1.ReplicaState_REPLICA_STATE_FAILED:
		f := o.Failure
		r.Attempts++
		if f.GetRetryable() && r.Attempts < p.w.Settings.MaxAttempts {
			p.enter(r, storev1.ReplicaPhase_REPLICA_PHASE_PENDING)
			r.Location = ""
			r.Reason, r.Message, r.Retryable = f.GetReason(), f.GetMessage(), true
			due := p.w.Now.Add(backoff(p.w.Settings, r.Attempts))
			r.NextAttemptTime = catalog.Stamp(due)
			// A new generation makes the same answer, if it is repeated, count once.
			r.Generation = catalog.NextGeneration(r.Generation, p.w.Now)
			p.wakeAt(due)
			return
		}
		p.fail(r, f.GetReason(), f.GetMessage(), f.GetRetryable())
	case agentv1.ReplicaState_REPLICA_STATE_ABSENT:
		if r.Adopted {
			p.lost(r)
		}
	}
}

// planActive watches over a published copy: the site may have lost it, or found it damaged.
func (p *planner) planActive(s image.StoreID, r *storev1.Replica) {
	if !p.attemptDue(r) {
		return
	}
	o := p.observed(r)
	if o == nil {
		return
	}
	switch {
	case o.State == agentv1.ReplicaState_REPLICA_STATE_VERIFYING && r.Adopted: // read again before the site vouches for it
	case o.State == agentv1.ReplicaState_REPLICA_STATE_PRESENT:
		r.Reason, r.Message, r.Retryable, r.Attempts = "", "", false, 0
		p.applyVerification(r, o.Verification)
	case o.State == agentv1.ReplicaState_REPLICA_STATE_FAILED && o.Failure.GetRetryable():
		// The site cannot look at the copy now, which does not mean that the copy is gone.
		r.Attempts++
		r.Reason, r.Message, r.Retryable = o.Failure.GetReason(), o.Failure.GetMessage(), true
		r.Generation = catalog.NextGeneration(r.Generation, p.w.Now)
		r.NextAttemptTime = catalog.Stamp(p.w.Now.Add(backoff(p.w.Settings, r.Attempts)))
	default:
		p.apply(s, r, o) // the copy vanished at the site, which writes it anew, or cannot be used any more
	}
}

// applyVerification records the outcome of a verification and quarantines a copy that differs.
func (p *planner) applyVerification(r *storev1.Replica, v *agentv1.Verification) {
	if v == nil || v.Generation < r.VerifiedGeneration || v.Generation > r.VerifyGeneration {
		return
	}
	r.VerifiedGeneration = v.Generation
	r.VerifyMessage = v.Failure.GetMessage()
	if v.Failure != nil {
		return
	}
	r.VerifyTime = v.Time
	r.ChunksDamaged = v.ChunksDamaged
	if v.ChunksDamaged > 0 {
		p.fail(r, catalog.ReasonDamaged,
			fmt.Sprintf("%d chunks differ from the manifest; the location has been withdrawn", v.ChunksDamaged), false)
	}
}

// planFailed lets a copy go on when what it waited for is there, and a quarantined one return when it verifies clean.
func (p *planner) planFailed(s image.StoreID, r *storev1.Replica) {
	if r.Reason == reasonOffline && p.w.Stores[s].Online {
		p.restart(r)
		return
	}
	if r.Reason == catalog.ReasonDamaged {
		if o := p.observed(r); o != nil && o.State == agentv1.ReplicaState_REPLICA_STATE_PRESENT &&
			o.Verification.GetGeneration() > r.VerifiedGeneration && o.Verification.GetFailure() == nil &&
			o.Verification.GetChunksDamaged() == 0 {
			p.apply(s, r, o)
			return
		} else if o != nil && o.Verification.GetGeneration() > r.VerifiedGeneration {
			p.applyVerification(r, o.Verification)
		}
	}
}

// restart makes a replica begin again.
func (p *planner) restart(r *storev1.Replica) {
	p.enter(r, storev1.ReplicaPhase_REPLICA_PHASE_PENDING)
	r.Generation = catalog.NextGeneration(r.Generation, p.w.Now)
	r.Reason, r.Message, r.Retryable, r.Attempts, r.NextAttemptTime, r.Location = "", "", false, 0, nil, ""
}

// fail gives a replica up.
func (p *planner) fail(r *storev1.Replica, reason, message string, retryable bool) {
	p.enter(r, storev1.ReplicaPhase_REPLICA_PHASE_FAILED)
	r.Reason, r.Message, r.Retryable, r.NextAttemptTime, r.Location = reason, message, retryable, nil, ""
}

// enter changes the phase and its time; being in it already changes nothing.
func (p *planner) enter(r *storev1.Replica, phase storev1.ReplicaPhase) {
	if r.Phase != phase {
		r.Phase = phase
		r.PhaseTime = catalog.Stamp(p.w.Now)
	}
}

// backoff returns the wait before the next attempt: doubling from RetryInitial up to RetryMax. The spread over a fleet
// comes from the moments at which the attempts fail.
func backoff(s Settings, attempts int32) time.Duration {
	d := s.RetryInitial
	for range attempts - 1 {
		if d *= 2; d >= s.RetryMax {
			return s.RetryMax
		}
	}
	return min(d, s.RetryMax)
}

func without(list []string, s string) []string {
	var out []string
	for _, v := range list {
		if v != s {
			out = append(out, v)
		}
	}
	return out
}
