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

func TestPlanDeleteImage(t *testing.T) {
	t.Parallel()
	b := newBoard(t, central, "dcn0")
	o := b.startDelete()
	b.plan()
	for _, r := range b.a.Replicas {
		if d := Desired(b.a.Image, r); d.Goal != agentv1.Goal_GOAL_CONDEMNED {
			t.Fatalf("got %v", d)
		}
	}
	b.say("dcn0", siteCondemned)
	if r := b.replica("dcn0"); r.Removal != storev1.Removal_REMOVAL_CHECKING {
		t.Fatalf("removed before all have answered: %v", r)
	}
	b.say(central, siteCondemned)
	b.wantImage(storev1.ImageStatus_IMAGE_STATUS_DELETED)
	b.say(central, siteAbsent)
	b.wantOp(o, running, "", succeeded, running)
	b.say("dcn0", siteAbsent)
	b.wantOp(o, succeeded, "", succeeded, succeeded)
	if b.a.Image != nil {
		t.Fatalf("left: %v", b.a.Image)
	}
}

// One copy in use keeps them all, and every site learns that its copy is wanted again.
func TestPlanDeleteImageInUse(t *testing.T) {
	t.Parallel()
	b := newBoard(t, central, "dcn0")
	filling := b.start(storev1.OperationKind_OPERATION_KIND_COPY, "dcn1")
	b.plan()
	b.say("dcn1", siteFilling)
	o := b.startDelete()
	b.plan()
	b.say("dcn0", siteCondemned)
	asked := map[string]uint64{}
	for _, r := range b.a.Replicas {
		asked[r.StoreId] = r.Generation
	}
	b.say(central, siteInUse)
	b.wantImage(storev1.ImageStatus_IMAGE_STATUS_DELETING) // dcn0 has not put its copy back yet
	b.wantPhase(central, phaseActive, "")
	b.wantPhase("dcn0", phaseActive, "")
	b.wantPhase("dcn1", phasePending, "")
	for _, r := range b.a.Replicas {
		if d := Desired(b.a.Image, r); d.Goal != agentv1.Goal_GOAL_PRESENT || d.Generation <= asked[r.StoreId] {
			t.Fatalf("got %v, asked at %d", d, asked[r.StoreId])
		}
	}
	b.say("dcn0", sitePresent)
	b.wantOp(o, running, "IN_USE", failed, cancelled, cancelled)
	b.say(central, sitePresent)
	b.wantImage(activeImage)
	b.wantOp(o, failed, "IN_USE", failed, cancelled, cancelled)
	b.say("dcn1", sitePresent)
	b.wantOp(filling, succeeded, "", succeeded)
}

// A refused delete gives back only what it has asked for itself: copies that a failed import takes back go on to go.
func TestPlanDeleteImageInUseDuringUndo(t *testing.T) {
	t.Parallel()
	b := newBoard(t)
	o := b.startImport(true, "central", "dcn0", "dcn1")
	b.plan()
	b.say(central, sitePresent)
	b.say("dcn1", sitePresent)
	b.fail("dcn0", "NO_SPACE", false)
	b.say("dcn0", siteAbsent)
	refused := b.startDelete()
	b.plan()
	asked := b.replica(central).Generation
	b.say("dcn1", siteInUse)
	b.wantOp(refused, failed, "IN_USE", cancelled, failed)
	if r := b.replica(central); r.Removal != storev1.Removal_REMOVAL_CHECKING || r.Generation != asked {
		t.Fatalf("the undo has lost its copy: %v", r)
	}
	b.say(central, siteCondemned)
	b.say(central, siteAbsent)
	if b.replica(central) != nil {
		t.Fatalf("left: %v", b.replica(central))
	}
	b.wantOp(o, failed, "NO_SPACE", cancelled, failed, cancelled)
	if notes := b.ops[o.Id].Notes; len(notes) != 1 || !strings.Contains(notes[0], "dcn1 keeps its copy") {
		t.Fatalf("notes: %q", notes)
	}
	b.wantImage(activeImage, "dcn0") // by the copy that is in use
}

// A delete during a copy ends the copy.
func TestPlanDeleteImageDuringCopy(t *testing.T) {
	t.Parallel()
	b := newBoard(t, central)
	copying := b.start(storev1.OperationKind_OPERATION_KIND_COPY, "dcn0")
	b.plan()
	b.say("dcn0", siteFilling)
	o := b.startDelete()
	b.plan()
	b.say("dcn0", siteCondemned)
	b.say(central, siteCondemned)
	b.wantOp(copying, cancelled, "", cancelled)
	b.say("dcn0", siteAbsent)
	b.say(central, siteAbsent)
	b.wantOp(o, succeeded, "", succeeded, succeeded)
}

// A site that is away does not hold a delete up: a tombstone waits for it.
func TestPlanDeleteOffline(t *testing.T) {
	t.Parallel()
	b := newBoard(t, central, "dcn0")
	b.connect("dcn0", false)
	o := b.startDelete()
	b.plan()
	b.say(central, siteCondemned)
	b.say(central, siteAbsent)
	b.wantOp(o, succeeded, "", succeeded, succeeded)
	if n := b.ops[o.Id].Notes; len(n) != 1 || !strings.Contains(n[0], "dcn0") {
		t.Fatalf("notes %q", n)
	}
	b.pass(1000 * time.Hour)
	b.wantPhase("dcn0", phaseDeleting, "")
	b.connect("dcn0", true)
	if d := Desired(b.a.Image, b.replica("dcn0")); d.Goal != agentv1.Goal_GOAL_ABSENT {
		t.Fatalf("got %v", d)
	}
	b.say("dcn0", siteAbsent)
	if b.a.Image != nil {
		t.Fatalf("left: %v", b.a.Image)
	}
}

// A site that is connected and does not answer counts as away after a while; a copy that turns out to be in use by then
// waits for its clones.
func TestPlanDeleteUnanswered(t *testing.T) {
	t.Parallel()
	b := newBoard(t, central)
	o := b.startDelete()
	b.plan()
	b.pass(DefaultSettings().CheckTimeout - time.Second)
	b.wantImage(storev1.ImageStatus_IMAGE_STATUS_DELETING)
	b.pass(time.Second)
	b.wantImage(storev1.ImageStatus_IMAGE_STATUS_DELETED)
	b.answer(central, &agentv1.ObservedReplica{State: siteInUse, Failure: &agentv1.Failure{Reason: "IN_USE", Message: "has clones"}})
	b.wantOp(o, succeeded, "", succeeded)
	if n := b.ops[o.Id].Notes; len(n) != 1 || !strings.Contains(n[0], "IN_USE") {
		t.Fatalf("notes %q", n)
	}
	b.say(central, siteAbsent)
	if b.a.Image != nil {
		t.Fatalf("left: %v", b.a.Image)
	}
}

// A site that answered in time is not called unreachable because another one took long.
func TestPlanDeleteBesideSilentSite(t *testing.T) {
	t.Parallel()
	b := newBoard(t, central, "dcn0")
	o := b.startDelete()
	b.plan()
	b.say(central, siteCondemned)
	b.pass(DefaultSettings().CheckTimeout)
	b.wantImage(storev1.ImageStatus_IMAGE_STATUS_DELETED)
	b.wantOp(o, running, "", running, running)
	b.say(central, siteAbsent)
	b.pass(DefaultSettings().CheckTimeout)
	b.wantOp(o, succeeded, "", succeeded, succeeded)
	if n := b.ops[o.Id].Notes; len(n) != 1 || !strings.Contains(n[0], "dcn0") {
		t.Fatalf("notes %q", n)
	}
}

func TestPlanDeleteReplica(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answers []agentv1.ReplicaState
		state   storev1.OperationState
		reason  string
		phase   storev1.ReplicaPhase
	}{
		"free":   {[]agentv1.ReplicaState{siteCondemned, siteAbsent}, succeeded, "", storev1.ReplicaPhase_REPLICA_PHASE_UNSPECIFIED},
		"in use": {[]agentv1.ReplicaState{siteInUse}, failed, "IN_USE", phaseActive},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBoard(t, central, "dcn0")
			b.a.Replicas[1] = catalog.BeginRemoval(b.a.Replicas[1], b.w.Now)
			o := b.start(storev1.OperationKind_OPERATION_KIND_DELETE_REPLICA, "dcn0")
			b.plan()
			b.wantOp(o, running, "", running)
			for _, a := range c.answers {
				b.say("dcn0", a)
			}
			b.wantOp(o, c.state, c.reason, c.state)
			b.wantPhase("dcn0", c.phase, "")
			b.wantPhase(central, phaseActive, "")
			b.wantImage(activeImage)
		})
	}
}

// A copy asked for while an earlier one is being removed follows it.
func TestPlanCopyAfterRemoval(t *testing.T) {
	t.Parallel()
	b := newBoard(t, central, "dcn0")
	b.a.Replicas[1] = catalog.BeginRemoval(b.a.Replicas[1], b.w.Now)
	b.plan()
	o := b.start(storev1.OperationKind_OPERATION_KIND_COPY, "dcn0")
	b.say("dcn0", siteCondemned)
	b.wantPhase("dcn0", phaseDeleting, "")
	b.say("dcn0", siteAbsent)
	b.wantPhase("dcn0", phasePending, "")
	b.say("dcn0", sitePresent)
	b.wantOp(o, succeeded, "", succeeded)
}

func TestPlanVerification(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		verification *agentv1.Verification
		phase        storev1.ReplicaPhase
		replica      string
		state        storev1.OperationState
		operation    string
	}{
		"clean":            {&agentv1.Verification{Generation: 1}, phaseActive, "", succeeded, ""},
		"damaged":          {&agentv1.Verification{Generation: 1, ChunksDamaged: 3}, phaseFailed, catalog.ReasonDamaged, failed, catalog.ReasonDamaged},
		"not carried out":  {&agentv1.Verification{Generation: 1, Failure: &agentv1.Failure{Message: "busy"}}, phaseActive, "", failed, "NOT_VERIFIED"},
		"an earlier one":   {&agentv1.Verification{Generation: 0}, phaseActive, "", running, ""},
		"one nobody asked": {&agentv1.Verification{Generation: 2, ChunksDamaged: 3}, phaseActive, "", running, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBoard(t, central, "dcn0")
			b.w.Settings.Repair = false
			b.a.Replicas[1].VerifyGeneration = 1
			o := b.start(storev1.OperationKind_OPERATION_KIND_VERIFY, "dcn0")
			o.VerifyGeneration = 1
			c.verification.Time = timestamppb.New(b.w.Now)
			b.answer("dcn0", &agentv1.ObservedReplica{State: sitePresent, Verification: c.verification})
			b.wantPhase("dcn0", c.phase, c.replica)
			b.wantOp(o, c.state, c.operation, c.state)
			b.wantPhase(central, phaseActive, "")
		})
	}
}

// A quarantined copy stays at its site, and returns when it verifies clean.
func TestPlanQuarantine(t *testing.T) {
	t.Parallel()
	b := newBoard(t, central, "dcn0")
	b.w.Settings.Repair = false
	b.a.Replicas[1].VerifyGeneration = 1
	b.answer("dcn0", &agentv1.ObservedReplica{State: sitePresent, Verification: &agentv1.Verification{Generation: 1, ChunksDamaged: 1}})
	b.wantPhase("dcn0", phaseFailed, catalog.ReasonDamaged)
	if d := Desired(b.a.Image, b.replica("dcn0")); d.Goal != agentv1.Goal_GOAL_PRESENT {
		t.Fatalf("got %v", d)
	}
	b.connect("dcn0", false)
	b.connect("dcn0", true)
	b.say("dcn0", sitePresent)
	b.wantPhase("dcn0", phaseFailed, catalog.ReasonDamaged)
	b.replica("dcn0").VerifyGeneration = 2
	b.answer("dcn0", &agentv1.ObservedReplica{State: sitePresent, Verification: &agentv1.Verification{Generation: 2}})
	b.wantPhase("dcn0", phaseActive, "")
}

// A site that cannot look at its copy for now still has it; one that has lost it writes it anew.
func TestPlanActiveCopy(t *testing.T) {
	t.Parallel()
	b := newBoard(t, central, "dcn0")
	b.fail("dcn0", "STORE_UNREACHABLE", true)
	b.wantPhase("dcn0", phaseActive, "STORE_UNREACHABLE")
	b.pass(5 * time.Second)
	b.say("dcn0", sitePresent)
	b.wantPhase("dcn0", phaseActive, "")
	b.say("dcn0", siteFilling)
	b.wantPhase("dcn0", phaseTransferring, "")
	b.say("dcn0", sitePresent)
	b.wantPhase("dcn0", phaseActive, "")
	b.fail("dcn0", "NAME_TAKEN", false)
	b.wantPhase("dcn0", phaseFailed, "NAME_TAKEN")
	b.wantImage(activeImage)
}
