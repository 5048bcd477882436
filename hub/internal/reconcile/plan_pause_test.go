package reconcile

import (
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// stop stops a site now, or lets it go on.
func (b *board) stop(s image.StoreID, why string) {
	v := b.w.Stores[s]
	v.Stopped, v.HoldFrom = why, b.w.Now.Add(time.Second)
	b.w.Stores[s] = v
	b.plan()
}

func (b *board) wantHeld(s image.StoreID) {
	b.t.Helper()
	b.wantPhase(s, phasePending, reasonPaused)
	if d := Desired(b.a.Image, b.replica(s)); d.Goal != agentv1.Goal_GOAL_HOLD {
		b.t.Fatalf("goal of a paused copy: %v", d.Goal)
	}
}

// A copy under way has a moment to let chunks through, is then held, and goes on afterwards with a new generation.
func TestPlanPause(t *testing.T) {
	t.Parallel()
	b := newBoard(t, central)
	o := b.start(storev1.OperationKind_OPERATION_KIND_COPY, "dcn0")
	b.plan()
	b.say("dcn0", siteFilling)
	b.stop("dcn0", "site dcn0 is paused")
	b.wantPhase("dcn0", phaseTransferring, "")
	if want := b.w.Now.Add(time.Second); !b.wake.Equal(want) {
		t.Fatalf("looks again at %s, want %s", b.wake, want)
	}
	b.pass(time.Second)
	b.wantHeld("dcn0")
	if got := b.replica("dcn0").Message; got != "site dcn0 is paused" {
		t.Fatalf("message %q", got)
	}
	if n := needOf(b.a, b.w); n.need.Fills != 0 {
		t.Fatalf("%d fills are expected", n.need.Fills)
	}
	// What the site said before does not count, and time does not make the copy fail, online or not.
	b.plan()
	b.wantHeld("dcn0")
	b.connect("dcn0", false)
	b.pass(72 * time.Hour)
	b.wantHeld("dcn0")
	b.wantOp(o, running, "", running)

	before := b.replica("dcn0").Generation
	b.stop("dcn0", "")
	b.wantPhase("dcn0", phasePending, "")
	if d := Desired(b.a.Image, b.replica("dcn0")); d.Goal != agentv1.Goal_GOAL_PRESENT || d.Generation <= before {
		t.Fatalf("after the pause: %v", d)
	}
	b.pass(23 * time.Hour) // the wait for the site begins when the pause ends
	b.wantPhase("dcn0", phasePending, "")
	b.connect("dcn0", true)
	b.say("dcn0", sitePresent)
	b.wantPhase("dcn0", phaseActive, "")
	b.wantOp(o, succeeded, "", succeeded)
}

// A copy that is asked for while its site is paused, and one that waits for its next attempt, wait for the site.
func TestPlanPausedFromTheStart(t *testing.T) {
	t.Parallel()
	b := newBoard(t, central)
	b.start(storev1.OperationKind_OPERATION_KIND_COPY, "dcn0", "dcn1")
	b.plan()
	b.fail("dcn1", "STORE_UNREACHABLE", true)
	b.stop("dcn0", "site dcn0 is paused")
	b.stop("dcn1", "the bandwidth limit of site dcn1 is 0")
	b.pass(time.Second)
	b.wantHeld("dcn0")
	b.wantHeld("dcn1")
	if r := b.replica("dcn1"); r.NextAttemptTime != nil {
		t.Fatalf("tries again at %s", r.NextAttemptTime.AsTime())
	}
}

// What moves no data goes on: reading back, published copies, deletes. A paused site sends nothing to others.
func TestPlanPauseLeavesTheRest(t *testing.T) {
	t.Parallel()
	b := newBoard(t, central, "dcn1")
	b.start(storev1.OperationKind_OPERATION_KIND_COPY, "dcn0")
	b.plan()
	b.say("dcn0", agentv1.ReplicaState_REPLICA_STATE_VERIFYING)
	for _, s := range []image.StoreID{central, "dcn0", "dcn1"} {
		b.stop(s, "paused")
	}
	b.pass(time.Minute)
	b.wantPhase("dcn0", storev1.ReplicaPhase_REPLICA_PHASE_VERIFYING, "")
	b.wantPhase("dcn1", phaseActive, "")
	if n := needOf(b.a, b.w); n.need.HasSource || n.offer != nil {
		t.Fatalf("a paused site is a source: %v", n)
	}
	b.stop("dcn1", "")
	if n := needOf(b.a, b.w); n.site != "dcn1" {
		t.Fatalf("the source is %q", n.site)
	}
	b.say("dcn0", sitePresent)
	b.wantPhase("dcn0", phaseActive, "")
	b.startDelete()
	b.plan()
	if d := Desired(b.a.Image, b.replica(central)); d.Goal != agentv1.Goal_GOAL_CONDEMNED {
		t.Fatalf("goal of a delete: %v", d.Goal)
	}
}
