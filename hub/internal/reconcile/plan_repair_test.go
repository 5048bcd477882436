package reconcile

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// damage lets a verification of the copy in dcn0, the second one, find that it is damaged.
func (b *board) damage() {
	b.t.Helper()
	r := b.replica("dcn0")
	catalog.AskVerification(r, b.w.Now)
	b.answer("dcn0", &agentv1.ObservedReplica{State: sitePresent, Verification: &agentv1.Verification{
		Generation: r.VerifyGeneration, Time: timestamppb.New(b.w.Now), ChunksDamaged: 2,
	}})
}

// wantKept fails the test unless the copy in dcn0 is in quarantine and says why.
func (b *board) wantKept(why string) {
	b.t.Helper()
	b.wantPhase("dcn0", phaseFailed, catalog.ReasonDamaged)
	b.wantGoal("dcn0", agentv1.Goal_GOAL_PRESENT)
	if r := b.replica("dcn0"); r.Location != "" || !strings.Contains(r.Message, why) {
		b.t.Fatalf("want %q: %v", why, r)
	}
}

// wantRepair fails the test unless the copy in dcn0 is being made again and says so.
func (b *board) wantRepair(goal agentv1.Goal) {
	b.t.Helper()
	r := b.replica("dcn0")
	if r.Reason != catalog.ReasonDamaged || !r.Retryable || r.Location != "" {
		b.t.Fatalf("got %v", r)
	}
	b.wantGoal("dcn0", goal)
}

func TestRepair(t *testing.T) {
	t.Parallel()
	b := newBoard(t, central, "dcn0")
	b.damage()
	b.wantRepair(agentv1.Goal_GOAL_CONDEMNED)
	b.say("dcn0", siteCondemned)
	b.wantRepair(agentv1.Goal_GOAL_ABSENT)
	b.say("dcn0", siteAbsent)
	b.wantRepair(agentv1.Goal_GOAL_PRESENT)
	b.say("dcn0", siteFilling)
	b.wantPhase("dcn0", phaseTransferring, catalog.ReasonDamaged)
	b.say("dcn0", agentv1.ReplicaState_REPLICA_STATE_VERIFYING)
	b.wantRepair(agentv1.Goal_GOAL_PRESENT)
	b.pass(time.Minute)
	b.answer("dcn0", &agentv1.ObservedReplica{State: sitePresent, Verification: &agentv1.Verification{Time: timestamppb.New(b.w.Now)}})
	b.wantPhase("dcn0", phaseActive, "")
	if r := b.replica("dcn0"); r.Repair != repairNone || r.ChunksDamaged != 0 || r.Location == "" || !r.VerifyTime.AsTime().Equal(b.w.Now) {
		t.Fatalf("got %v", r)
	}
	if d := b.wantGoal("dcn0", agentv1.Goal_GOAL_PRESENT); d.VerifyGeneration != 0 {
		t.Fatalf("a new copy is verified twice: %v", d)
	}
}

// What keeps a damaged copy, and that it is made again when that is over.
func TestRepairIsNotBegun(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before, after func(b *board)
		says          string
		retryable     bool
	}{
		"the only copy": {
			func(b *board) { b.a.Replicas = b.a.Replicas[1:] }, nil, "no other site", true,
		},
		"the other one is away": {
			func(b *board) { b.connect(central, false) }, func(b *board) { b.connect(central, true) }, "no other site", true,
		},
		"the other one is damaged too": {
			func(b *board) { r := b.replica(central); r.Phase, r.Reason = phaseFailed, catalog.ReasonDamaged }, nil, "no other site", true,
		},
		"the other one is being written": {
			func(b *board) { b.replica(central).Phase = phaseTransferring }, func(b *board) { b.replica(central).Phase = phaseActive }, "no other site", true,
		},
		"the other one is going": {
			func(b *board) {
				b.start(storev1.OperationKind_OPERATION_KIND_DELETE_REPLICA, string(central))
				b.a.Replicas[0] = catalog.BeginRemoval(b.a.Replicas[0], b.w.Now)
			}, nil, "no other site", true,
		},
		"the site is paused": {
			func(b *board) { b.stop("dcn0", "paused") }, func(b *board) { b.stop("dcn0", "") }, "not paused", true,
		},
		"adopted": {func(b *board) { b.replica("dcn0").Adopted = true }, nil, "not made by Atoll", false},
		"off":     {func(b *board) { b.w.Settings.Repair = false }, nil, "until the copy is retried", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBoard(t, central, "dcn0")
			c.before(b)
			b.damage()
			b.wantKept(c.says)
			if r := b.replica("dcn0"); r.Retryable != c.retryable {
				t.Fatalf("got %v", r)
			}
			if c.after != nil {
				c.after(b)
				b.plan()
				b.wantRepair(agentv1.Goal_GOAL_CONDEMNED)
			}
		})
	}
}

// retry does what the catalog does for replica retry.
func (b *board) retry() *storev1.Operation {
	b.t.Helper()
	r := b.replica("dcn0")
	r.Phase, r.Repair, r.Reason, r.Message = phasePending, repairChecking, "", ""
	r.Generation = catalog.NextGeneration(r.Generation, b.w.Now)
	o := b.start(storev1.OperationKind_OPERATION_KIND_COPY, "dcn0")
	b.plan()
	return o
}

// A copy with clones is kept, and asked for again only when somebody says so.
func TestRepairRefused(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{false, true} {
		b := newBoard(t, central, "dcn0")
		b.damage()
		if late { // a clone that appears between the question and the removal
			b.say("dcn0", siteCondemned)
		}
		asked := b.replica("dcn0").Generation
		b.say("dcn0", siteInUse)
		b.wantKept("dependants")
		if r := b.replica("dcn0"); r.Retryable || r.Generation <= asked {
			t.Fatalf("got %v", r)
		}
		b.say("dcn0", sitePresent)
		b.pass(1000 * time.Hour)
		b.wantKept("dependants")
		o := b.retry()
		b.wantRepair(agentv1.Goal_GOAL_CONDEMNED)
		b.say("dcn0", siteInUse)
		b.wantOp(o, failed, catalog.ReasonDamaged, failed)
		o = b.retry()
		b.say("dcn0", siteCondemned)
		b.say("dcn0", siteAbsent)
		b.wantOp(o, running, "", running)
		b.say("dcn0", sitePresent)
		b.wantOp(o, succeeded, "", succeeded)
		b.wantPhase("dcn0", phaseActive, "")
	}
}

// A retry works without automatic repair too, and is refused for the last good copy.
func TestRepairByHand(t *testing.T) {
	t.Parallel()
	b := newBoard(t, central, "dcn0")
	b.w.Settings.Repair = false
	b.damage()
	o := b.retry()
	b.wantRepair(agentv1.Goal_GOAL_CONDEMNED)
	b.say("dcn0", siteCondemned)
	b.say("dcn0", siteAbsent)
	b.say("dcn0", sitePresent)
	b.wantOp(o, succeeded, "", succeeded)

	b = newBoard(t, "dcn0")
	b.damage()
	o = b.retry()
	b.wantOp(o, failed, catalog.ReasonDamaged, failed)
	b.wantKept("no other site")
}

// The name that a site has taken away is given back when the other copy goes away before it is too late.
func TestRepairLosesItsSource(t *testing.T) {
	t.Parallel()
	b := newBoard(t, central, "dcn0")
	b.damage()
	b.connect(central, false)
	b.plan()
	b.wantKept("no other site")
	b.answer("dcn0", &agentv1.ObservedReplica{State: sitePresent, Verification: &agentv1.Verification{Generation: 1, ChunksDamaged: 2}})
	b.wantKept("no other site")
	b.connect(central, true)
	b.plan()
	b.wantRepair(agentv1.Goal_GOAL_CONDEMNED)
}

// A site that cannot answer is asked again; one that goes away is waited for, and goes on where it was.
func TestRepairWaits(t *testing.T) {
	t.Parallel()
	b := newBoard(t, central, "dcn0")
	b.damage()
	asked := b.replica("dcn0").Generation
	b.fail("dcn0", "STORE_UNREACHABLE", true)
	b.wantRepair(agentv1.Goal_GOAL_CONDEMNED)
	b.pass(5 * time.Second)
	if r := b.replica("dcn0"); r.Generation <= asked {
		t.Fatalf("not asked again: %v", r)
	}
	b.say("dcn0", siteCondemned)
	b.connect("dcn0", false)
	b.pass(23 * time.Hour)
	b.wantRepair(agentv1.Goal_GOAL_ABSENT)
	b.pass(2 * time.Hour)
	b.wantPhase("dcn0", phaseFailed, reasonOffline)
	b.connect("dcn0", true)
	b.plan()
	b.wantRepair(agentv1.Goal_GOAL_ABSENT)
	b.say("dcn0", siteAbsent)
	b.say("dcn0", sitePresent)
	b.wantPhase("dcn0", phaseActive, "")
}

// A damaged copy that is deleted meanwhile goes, and one whose delete is refused is in quarantine as before.
func TestDeleteDuringRepair(t *testing.T) {
	t.Parallel()
	b := newBoard(t, central, "dcn0")
	b.damage()
	o := b.startDelete()
	b.plan()
	b.say("dcn0", siteCondemned)
	b.say(central, siteInUse)
	b.say("dcn0", sitePresent)
	b.say(central, sitePresent)
	b.wantOp(o, failed, "IN_USE", failed, cancelled)
	b.wantRepair(agentv1.Goal_GOAL_CONDEMNED)
	o = b.startDelete()
	b.plan()
	b.say("dcn0", siteCondemned)
	b.say(central, siteCondemned)
	b.say("dcn0", siteAbsent)
	b.say(central, siteAbsent)
	b.wantOp(o, succeeded, "", succeeded, succeeded)
}

// When a copy was proven: by the check before publishing and by verifications that were carried out, at the time of the site
// as far as that can be.
func TestProven(t *testing.T) {
	t.Parallel()
	b := newBoard(t, central)
	b.start(storev1.OperationKind_OPERATION_KIND_COPY, "dcn0")
	b.plan()
	b.pass(time.Hour)
	check := b.w.Now.Add(-time.Minute)
	b.answer("dcn0", &agentv1.ObservedReplica{State: sitePresent, Verification: &agentv1.Verification{Time: timestamppb.New(check)}})
	wantProof(b, check, 0)
	asked := b.w.Now
	for i, c := range []struct {
		at      time.Time
		failure *agentv1.Failure
		want    time.Time
	}{
		{b.w.Now.Add(time.Minute), &agentv1.Failure{Message: "no"}, check},
		{b.w.Now.Add(time.Minute), &agentv1.Failure{Message: "no"}, check},
		{asked.Add(121 * time.Minute), nil, asked.Add(121 * time.Minute)},
		{time.Unix(1, 0), nil, asked.Add(3 * time.Hour)},               // a clock that has lost its battery
		{b.w.Now.Add(time.Hour * 9999), nil, asked.Add(5 * time.Hour)}, // and one that is ahead
	} {
		r := b.replica("dcn0")
		catalog.AskVerification(r, b.w.Now)
		b.pass(time.Hour)
		b.answer("dcn0", &agentv1.ObservedReplica{State: sitePresent, Verification: &agentv1.Verification{
			Generation: r.VerifyGeneration, Time: timestamppb.New(c.at), Failure: c.failure,
		}})
		failures := int32(0)
		if c.failure != nil {
			failures = int32(i) + 1
		}
		wantProof(b, c.want, failures)
	}
	b.connect("dcn0", false)
	b.connect("dcn0", true)
	b.answer("dcn0", &agentv1.ObservedReplica{State: sitePresent, Verification: &agentv1.Verification{Time: timestamppb.New(check)}})
	wantProof(b, asked.Add(5*time.Hour), 0) // an agent that has lost what it knew proves nothing
}

func wantProof(b *board, at time.Time, failures int32) {
	b.t.Helper()
	r := b.replica("dcn0")
	if !r.VerifyTime.AsTime().Equal(at) || r.VerifyFailures != failures || (r.NextVerifyTime != nil) != (failures > 0) {
		b.t.Fatalf("want %s and %d failures: %v", at, failures, r)
	}
}
