package reconcile

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

const (
	phaseVerifying = storev1.ReplicaPhase_REPLICA_PHASE_VERIFYING
	siteVerifying  = agentv1.ReplicaState_REPLICA_STATE_VERIFYING
	imageQueued    = storev1.ImageStatus_IMAGE_STATUS_QUEUED
	imageImporting = storev1.ImageStatus_IMAGE_STATUS_IMPORTING
	imageActive    = storev1.ImageStatus_IMAGE_STATUS_ACTIVE
)

var (
	matching    = &storev1.Expected{HashAlgo: "sha256", HashValue: "22"}
	notMatching = &storev1.Expected{HashAlgo: "sha1", HashValue: "ff"}
	sized       = &agentv1.Adoption{SizeBytes: 100}
	known       = &agentv1.Adoption{
		SizeBytes: 100, DataBytes: 60, Complete: true, ManifestDigest: make([]byte, 32), Md5: "00", Sha1: "11", Sha256: "22", Sha512: "33",
	}
)

// adoptingBoard returns an image whose copy in dcn0 has just been asked to be adopted.
func adoptingBoard(t *testing.T, expected *storev1.Expected) (*board, *storev1.Operation) {
	t.Helper()
	b := newBoard(t, "dcn0")
	b.a.Image.Status = imageImporting
	b.a.Image.Content = &storev1.Content{Id: contentID, AdoptedFrom: "dcn0"}
	r := b.a.Replicas[0]
	r.Phase, r.Adopted, r.Location = phasePending, true, ""
	o := b.start(storev1.OperationKind_OPERATION_KIND_ADOPT, "dcn0")
	o.Expected, o.Stores[0].Created = expected, true
	b.plan()
	return b, o
}

// adoptedBoard returns an active image whose copy in dcn0 was adopted and is being read.
func adoptedBoard(t *testing.T) *board {
	t.Helper()
	b, _ := adoptingBoard(t, nil)
	b.find(siteVerifying, sized)
	return b
}

// find lets dcn0 report what it knows of the copy, and plans.
func (b *board) find(state agentv1.ReplicaState, a *agentv1.Adoption) {
	b.t.Helper()
	b.answer("dcn0", &agentv1.ObservedReplica{State: state, Adoption: a})
}

func (b *board) wantGoal(s image.StoreID, goal agentv1.Goal) *agentv1.DesiredReplica {
	b.t.Helper()
	d := Desired(b.a.Image, b.replica(s))
	if d.Goal != goal || d.Adopted != b.replica(s).Adopted {
		b.t.Fatalf("store %s is told %v, want %s", s, d, goal)
	}
	return d
}

// wantDisowned checks that an adoption came to nothing and left everything as it was.
func (b *board) wantDisowned() {
	b.t.Helper()
	b.wantImage(imageQueued)
	if len(b.a.Replicas) > 0 || b.a.Image.Content != nil {
		b.t.Fatalf("left: %v %v", b.a.Replicas, b.a.Image)
	}
}

// Without an expected digest the image is active once the copy has been seen; digests follow.
func TestAdopt(t *testing.T) {
	t.Parallel()
	b, o := adoptingBoard(t, nil)
	b.wantPhase("dcn0", phasePending, "")
	b.wantGoal("dcn0", agentv1.Goal_GOAL_ADOPTED)
	b.find(siteVerifying, nil)
	b.find(siteVerifying, &agentv1.Adoption{})
	b.wantImage(imageImporting)
	b.find(siteVerifying, sized)
	b.wantPhase("dcn0", phaseActive, "")
	b.wantImage(imageActive)
	b.wantOp(o, succeeded, "", succeeded)
	if c := b.a.Image.Content; c.Complete || c.SizeBytes != 100 {
		t.Fatalf("content %v", c)
	}
	before := b.wantGoal("dcn0", agentv1.Goal_GOAL_ADOPTED)
	b.find(sitePresent, known)
	want := &storev1.Content{
		Id: contentID, AdoptedFrom: "dcn0", Complete: true, SizeBytes: 100, DataBytes: 60, ManifestDigest: known.ManifestDigest, Md5: "00", Sha512: "33",
	}
	if !proto.Equal(b.a.Image.Content, want) {
		t.Fatalf("content %v", b.a.Image.Content)
	}
	after := b.wantGoal("dcn0", agentv1.Goal_GOAL_PRESENT)
	if after.Generation <= before.Generation || len(after.Content.ManifestDigest) != 32 {
		t.Fatalf("told %v", after)
	}
	b.say("dcn0", siteVerifying) // a new agent reads it again before it vouches for it
	b.wantPhase("dcn0", phaseActive, "")
	b.say("dcn0", sitePresent)
	b.wantPhase("dcn0", phaseActive, "")
}

func TestAdoptExpected(t *testing.T) {
	t.Parallel()
	b, o := adoptingBoard(t, matching)
	b.find(siteVerifying, sized)
	b.wantPhase("dcn0", phaseVerifying, "")
	b.wantImage(imageImporting)
	b.wantOp(o, running, "", running)
	b.find(sitePresent, known)
	b.wantPhase("dcn0", phaseActive, "")
	b.wantImage(imageActive)
	b.wantOp(o, succeeded, "", succeeded)

	b, o = adoptingBoard(t, notMatching)
	b.find(sitePresent, known)
	b.wantOp(o, failed, reasonMismatch, failed)
	b.wantDisowned()
}

func TestAdoptFails(t *testing.T) {
	t.Parallel()
	for reason, happen := range map[string]func(b *board){
		reasonNoCopy:       func(b *board) { b.say("dcn0", siteAbsent) },
		"SNAPSHOT_MISSING": func(b *board) { b.fail("dcn0", "SNAPSHOT_MISSING", false) },
		reasonChanged: func(b *board) {
			b.find(siteVerifying, sized)
			b.find(siteVerifying, &agentv1.Adoption{SizeBytes: 101})
		},
		reasonOffline: func(b *board) {
			b.connect("dcn0", false)
			b.pass(23 * time.Hour)
			b.wantImage(imageImporting)
			b.pass(time.Hour)
		},
		"STORE_UNREACHABLE": func(b *board) {
			b.w.Settings.MaxAttempts = 2
			b.fail("dcn0", "STORE_UNREACHABLE", true)
			b.wantPhase("dcn0", phasePending, "STORE_UNREACHABLE")
			b.wantGoal("dcn0", agentv1.Goal_GOAL_HOLD)
			b.pass(time.Minute)
			b.wantGoal("dcn0", agentv1.Goal_GOAL_ADOPTED)
			b.fail("dcn0", "STORE_UNREACHABLE", true)
		},
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			b, o := adoptingBoard(t, matching)
			happen(b)
			b.wantOp(o, failed, reason, failed)
			b.wantDisowned()
		})
	}
}

func TestAdoptCancelled(t *testing.T) {
	t.Parallel()
	b, o := adoptingBoard(t, matching)
	b.find(siteVerifying, sized)
	b.a.Operations[0].Undoing = cancelled
	b.plan()
	b.wantOp(o, cancelled, "", cancelled)
	b.wantDisowned()
}

// Deleting an image during its adoption leaves the copy alone; afterwards it goes like any other.
func TestDeleteAdopted(t *testing.T) {
	t.Parallel()
	b, o := adoptingBoard(t, matching)
	b.find(siteVerifying, sized)
	del := b.startDelete()
	b.plan()
	b.wantOp(o, cancelled, "", cancelled)
	b.wantOp(del, succeeded, "", succeeded)
	if b.a.Image != nil {
		t.Fatalf("left: %v", b.a)
	}

	b = adoptedBoard(t)
	del = b.startDelete()
	b.plan()
	b.wantGoal("dcn0", agentv1.Goal_GOAL_CONDEMNED)
	b.say("dcn0", siteInUse)
	b.wantPhase("dcn0", phaseActive, "")
	b.wantGoal("dcn0", agentv1.Goal_GOAL_ADOPTED)
	b.find(sitePresent, sized)
	b.wantOp(del, failed, "IN_USE", failed)
	del = b.startDelete()
	b.plan()
	b.say("dcn0", siteCondemned)
	b.wantGoal("dcn0", agentv1.Goal_GOAL_ABSENT)
	b.say("dcn0", siteAbsent)
	b.wantOp(del, succeeded, "", succeeded)
}

// An adopted copy that vanishes is written again only if another store has the content.
func TestAdoptedCopyIsLost(t *testing.T) {
	t.Parallel()
	b := adoptedBoard(t)
	b.say("dcn0", siteAbsent) // while it is read
	b.wantPhase("dcn0", phaseFailed, reasonLost)
	b.wantImage(imageActive)

	b = adoptedBoard(t)
	b.find(sitePresent, known)
	b.say("dcn0", siteAbsent)
	b.wantPhase("dcn0", phaseFailed, reasonLost)
	b.wantGoal("dcn0", agentv1.Goal_GOAL_HOLD)

	b = adoptedBoard(t)
	b.find(sitePresent, known)
	b.start(storev1.OperationKind_OPERATION_KIND_COPY, string(central))
	b.plan()
	b.say(central, sitePresent)
	b.wantPhase(central, phaseActive, "")
	b.say("dcn0", siteAbsent)
	b.wantPhase("dcn0", phasePending, "")
	if d := b.wantGoal("dcn0", agentv1.Goal_GOAL_PRESENT); d.Adopted {
		t.Fatal("it will not be written")
	}
	b.say("dcn0", sitePresent)
	b.wantPhase("dcn0", phaseActive, "")
}

// A store that cannot read the copy now keeps its location and tries again later.
func TestAdoptedCopyIsReadAgain(t *testing.T) {
	t.Parallel()
	b := adoptedBoard(t)
	b.fail("dcn0", "STORE_UNREACHABLE", true)
	b.wantPhase("dcn0", phaseActive, "STORE_UNREACHABLE")
	b.wantGoal("dcn0", agentv1.Goal_GOAL_HOLD)
	b.pass(5 * time.Second)
	b.wantGoal("dcn0", agentv1.Goal_GOAL_ADOPTED)
	b.find(siteVerifying, sized)
	b.wantPhase("dcn0", phaseActive, "")
	b.fail("dcn0", "COPY_CHANGED", false)
	b.wantPhase("dcn0", phaseFailed, "COPY_CHANGED")
	b.wantImage(imageActive)
}

// Copies wait until the adopted one has been read, and say for what.
func TestCopiesWaitForTheAdoptedOne(t *testing.T) {
	t.Parallel()
	b := adoptedBoard(t)
	o := b.start(storev1.OperationKind_OPERATION_KIND_COPY, string(central))
	b.plan()
	b.wantPhase(central, phasePending, reasonSource)
	b.wantGoal(central, agentv1.Goal_GOAL_HOLD)
	if n := needOf(b.a, b.w); n.need.HasSource || n.offer != nil {
		t.Fatalf("offered before it is known: %v", n)
	}
	b.pass(100 * time.Hour)
	b.wantOp(o, running, "", running)
	b.find(sitePresent, known)
	b.wantPhase(central, phasePending, "")
	b.wantGoal(central, agentv1.Goal_GOAL_PRESENT)
	if n := needOf(b.a, b.w); n.site != "dcn0" || n.offer.GetStoreId() != "dcn0" || n.need.Fills != 1 {
		t.Fatalf("not offered: %v", n)
	}
	b.say(central, sitePresent)
	b.wantOp(o, succeeded, "", succeeded)
}

func TestCopiesOfALostAdoption(t *testing.T) {
	t.Parallel()
	b := adoptedBoard(t)
	o := b.start(storev1.OperationKind_OPERATION_KIND_COPY, string(central))
	b.plan()
	b.say("dcn0", siteAbsent)
	b.plan()
	b.wantPhase(central, phaseFailed, reasonSourceLost)
	b.wantOp(o, failed, reasonSourceLost, failed)
	// A retry of the source, once its pool is back, lets the copy go on.
	r := b.replica("dcn0")
	r.Phase, r.Reason, r.Message, r.Generation = phasePending, "", "", catalog.NextGeneration(r.Generation, b.w.Now)
	b.find(siteVerifying, sized)
	b.plan()
	b.wantPhase(central, phasePending, reasonSource)
	b.find(sitePresent, known)
	b.wantPhase(central, phasePending, "")
	b.say(central, sitePresent)
	b.wantPhase(central, phaseActive, "")
}
