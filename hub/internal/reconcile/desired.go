package reconcile

import (
	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Desired returns what the site of a replica is told to do about it. It is a pure function of the records, so that every
// hub and every restart says the same.
func Desired(img *storev1.Image, r *storev1.Replica) *agentv1.DesiredReplica {
	d := &agentv1.DesiredReplica{
		ImageId: r.ImageId, StoreId: r.StoreId, Generation: r.Generation, Priority: agentv1.Priority(r.Priority),
		Content: &agentv1.Content{
			ContentId: r.ContentId, SizeBytes: img.GetContent().GetSizeBytes(), ManifestDigest: img.GetContent().GetManifestDigest(),
		},
	}
	if r.VerifyGeneration > r.VerifiedGeneration {
		d.VerifyGeneration = r.VerifyGeneration
	}
	if r.BaseImageId != "" {
		d.Base = &agentv1.Base{ImageId: r.BaseImageId, ContentId: r.BaseContentId}
	}
	switch {
	case r.Removal == storev1.Removal_REMOVAL_CHECKING:
		d.Goal = agentv1.Goal_GOAL_CONDEMNED
	case r.Removal == storev1.Removal_REMOVAL_DECIDED:
		d.Goal = agentv1.Goal_GOAL_ABSENT
	case r.Repair == repairChecking:
		d.Goal = agentv1.Goal_GOAL_CONDEMNED
	case r.Repair == repairRemoving:
		d.Goal = agentv1.Goal_GOAL_ABSENT
	case held(r):
		d.Goal = agentv1.Goal_GOAL_HOLD
	default:
		d.Goal = agentv1.Goal_GOAL_PRESENT
	}
	d.Goal, d.Adopted = adoptedGoal(d.Goal, img, r), r.Adopted
	return d
}

// held reports whether the site should leave the copy as it is for now. A published copy is never held: the site goes on
// vouching for it and answers verifications, also while it is quarantined.
func held(r *storev1.Replica) bool {
	switch r.Phase {
	case storev1.ReplicaPhase_REPLICA_PHASE_FAILED:
		return r.Reason != catalog.ReasonDamaged
	case storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE:
		return false
	default:
		return r.NextAttemptTime != nil || paused(r)
	}
}
