package reconcile

import (
	"testing"

	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// A copy whose site fills others first is pending, also when it had begun, and keeps its goal and its generation.
func TestPlanQueued(t *testing.T) {
	t.Parallel()
	b := newBoard(t, central)
	o := b.start(storev1.OperationKind_OPERATION_KIND_COPY, "dcn0")
	b.plan()
	b.say("dcn0", siteFilling)
	b.wantPhase("dcn0", phaseTransferring, "")
	before := Desired(b.a.Image, b.replica("dcn0"))
	b.answer("dcn0", &agentv1.ObservedReplica{State: siteFilling, Failure: &agentv1.Failure{Reason: "QUEUED", Message: "waits", Retryable: true}})
	b.wantPhase("dcn0", phasePending, "QUEUED")
	if d := Desired(b.a.Image, b.replica("dcn0")); d.Goal != agentv1.Goal_GOAL_PRESENT || d.Generation != before.Generation {
		t.Fatalf("goal of a queued copy: %v", d)
	}
	if n := needOf(b.a, b.w); n.need.Fills != 1 {
		t.Fatalf("%d fills are expected", n.need.Fills)
	}
	b.say("dcn0", siteFilling)
	b.wantPhase("dcn0", phaseTransferring, "")
	b.say("dcn0", sitePresent)
	b.wantOp(o, succeeded, "", succeeded)
}
