package reconcile

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

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
		r.ContentId, r.BaseSettled = id, false
		r.Repair = repairNone
		p.restart(r)
	}
	switch {
	case p.planSource(s, r):
	case takingAway(r): // decided when all copies are known, see planRepairs
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
		if since := later(view.Since, r.PhaseTime.AsTime()); p.givenUp(view, since) { // or since it was asked for again
			p.failOffline(r, view)
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

// failOffline gives up to wait for the site of a replica, until it returns.
func (p *planner) failOffline(r *storev1.Replica, view StoreView) {
	p.fail(r, reasonOffline, fmt.Sprintf("site %s has been offline since %s", r.SiteId, view.Since.UTC().Format(time.RFC3339)), true)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
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
		p.enter(r, fillingPhase(o.Failure.GetReason()))
		r.Location = ""
		r.Reason, r.Message, r.Retryable = o.Failure.GetReason(), o.Failure.GetMessage(), o.Failure != nil
		p.showRepair(r)
	case agentv1.ReplicaState_REPLICA_STATE_VERIFYING:
		p.enter(r, storev1.ReplicaPhase_REPLICA_PHASE_VERIFYING)
		r.Reason, r.Message, r.Retryable = "", "", false
		p.showRepair(r)
	case agentv1.ReplicaState_REPLICA_STATE_PRESENT:
		if !p.img.Content.GetComplete() || ofAnother(o, r) {
			return // cannot be: the site publishes only what has a root digest
		}
		if stillDamaged(r, o.Verification) { // one that was put back
			p.fail(r, catalog.ReasonDamaged, damageMessage(r, "it is kept"), false)
			return
		}
		p.applyPublished(r, o.Verification)
		p.enter(r, storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE)
		r.Priority, r.AwaitedTime = storev1.Priority_PRIORITY_UNSPECIFIED, nil
		r.Location = p.location(s, r)
		r.Reason, r.Message, r.Retryable, r.Attempts, r.Repair = "", "", false, 0, repairNone
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

// reasonQueued is the reason of a copy that waits until its site has filled others, as its agent says.
const reasonQueued = "QUEUED"

// fillingPhase returns the phase of a copy that its site fills, or would like to.
func fillingPhase(wait string) storev1.ReplicaPhase {
	if wait == reasonQueued {
		return storev1.ReplicaPhase_REPLICA_PHASE_PENDING
	}
	return storev1.ReplicaPhase_REPLICA_PHASE_TRANSFERRING
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

// stillDamaged reports whether a published copy is the one that a verification has found damaged, and nothing newer is known.
func stillDamaged(r *storev1.Replica, v *agentv1.Verification) bool {
	return r.ChunksDamaged > 0 && v.GetGeneration() <= r.VerifiedGeneration && !published(r, v)
}

// published reports whether v is the check before publishing of a copy that was written after the latest verification.
func published(r *storev1.Replica, v *agentv1.Verification) bool {
	return v != nil && v.Generation == 0 && v.Failure == nil && v.ChunksDamaged == 0 &&
		(r.VerifyTime == nil || v.Time.AsTime().After(r.VerifyTime.AsTime()))
}

// applyPublished records the check before publishing.
func (p *planner) applyPublished(r *storev1.Replica, v *agentv1.Verification) {
	if r.Phase != storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE && published(r, v) {
		r.VerifyTime, r.ChunksDamaged = p.within(v, r.CreateTime), 0
		r.VerifyFailures, r.NextVerifyTime, r.VerifyMessage = 0, nil, ""
	}
}

// applyVerification records the outcome of a verification and quarantines a copy that differs. One that could not be carried
// out proves nothing and is repeated later.
func (p *planner) applyVerification(r *storev1.Replica, v *agentv1.Verification) {
	if v == nil || v.Generation <= r.VerifiedGeneration || v.Generation > r.VerifyGeneration {
		return
	}
	r.VerifiedGeneration = v.Generation
	r.VerifyMessage = v.Failure.GetMessage()
	if v.Failure != nil {
		r.VerifyFailures++
		r.NextVerifyTime = catalog.Stamp(p.w.Now.Add(verifyBackoff(p.w.Settings, r.VerifyFailures)))
		return
	}
	r.VerifyTime, r.VerifyFailures, r.NextVerifyTime = p.within(v, r.VerifyRequestTime), 0, nil
	r.ChunksDamaged = v.ChunksDamaged
	if v.ChunksDamaged > 0 && r.Reason != catalog.ReasonDamaged {
		p.fail(r, catalog.ReasonDamaged,
			fmt.Sprintf("%d chunks differ from the manifest; the location has been withdrawn", v.ChunksDamaged), false)
	}
}

// within returns when a verification ended, by the site's clock as far as that can be: not before it was asked for and not
// after now. A site whose clock is wrong is neither read all the time nor never again.
func (p *planner) within(v *agentv1.Verification, asked *timestamppb.Timestamp) *timestamppb.Timestamp {
	t := v.GetTime().AsTime()
	if asked != nil {
		t = later(t, asked.AsTime())
	}
	if t.After(p.w.Now) {
		t = p.w.Now
	}
	return catalog.Stamp(t)
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

// verifyBackoff returns the wait before a verification is repeated that could not be carried out: with the default settings
// from one minute to one hour.
func verifyBackoff(s Settings, failures int32) time.Duration {
	const times = 12 // a verification is not as urgent as a copy
	return times * backoff(s, failures)
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
