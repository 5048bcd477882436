package reconcile

import (
	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// reasonPaused is the reason of an unfinished copy whose site is stopped. Its site leaves the copy as it is.
const reasonPaused = "SITE_PAUSED"

func paused(r *storev1.Replica) bool {
	return r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_PENDING && r.Reason == reasonPaused
}

// pause makes an unfinished copy wait while its site is stopped, and go on afterwards. It reports whether the copy waits. What
// needs no data any more goes on: that a copy is read back before it is published.
func (p *planner) pause(view StoreView, r *storev1.Replica) bool {
	if view.Stopped == "" {
		if paused(r) {
			p.restart(r)
			r.PhaseTime = catalog.Stamp(p.w.Now) // a site that is away now has not been waited for
		}
		return false
	}
	if r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_VERIFYING || r.Adopted {
		return false
	}
	if !paused(r) && !p.after(view.HoldFrom, 0) {
		return false // what has begun may come through
	}
	if !paused(r) {
		p.restart(r)
	}
	r.Reason, r.Message, r.Retryable = reasonPaused, view.Stopped, true
	return true
}
