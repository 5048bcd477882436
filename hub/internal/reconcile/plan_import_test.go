package reconcile

import (
	"testing"

	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

const (
	queuedImage    = storev1.ImageStatus_IMAGE_STATUS_QUEUED
	importingImage = storev1.ImageStatus_IMAGE_STATUS_IMPORTING
	activeImage    = storev1.ImageStatus_IMAGE_STATUS_ACTIVE
)

func TestPlanImportPublishes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		together   bool
		afterFirst storev1.ImageStatus
	}{
		"with the first copy": {false, activeImage},
		"with the last copy":  {true, importingImage},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBoard(t)
			o := b.startImport(c.together, "central", "dcn0")
			b.plan()
			b.wantPhase(central, phasePending, "")
			b.wantPhase("dcn0", phasePending, "")
			b.say("dcn0", sitePresent)
			b.wantImage(c.afterFirst)
			b.wantOp(o, running, "", running, succeeded)
			b.say(central, sitePresent)
			b.wantImage(activeImage)
			b.wantOp(o, succeeded, "", succeeded, succeeded)
			if b.a.Image.PublishTogether {
				t.Fatal("the mark outlives the import")
			}
		})
	}
}

// A site can hold a copy only of what is complete.
func TestPlanImportWaitsForTheData(t *testing.T) {
	t.Parallel()
	b := newBoard(t)
	b.startImport(false, "central")
	b.a.Image.Content.Complete = false
	b.plan()
	b.say(central, sitePresent)
	b.wantPhase(central, phasePending, "")
	b.wantImage(importingImage)
}

// With all-must-succeed one failure removes what was written everywhere, and the image is as before.
func TestPlanImportUndo(t *testing.T) {
	t.Parallel()
	b := newBoard(t)
	o := b.startImport(true, "central", "dcn0", "dcn1")
	b.plan()
	b.say(central, sitePresent)
	b.say("dcn1", siteFilling)
	b.fail("dcn0", "NO_SPACE", false)
	b.wantImage(importingImage, "dcn0")
	b.wantOp(o, running, "NO_SPACE", cancelled, failed, cancelled)
	if r := b.replica(central); r.Removal != storev1.Removal_REMOVAL_CHECKING {
		t.Fatalf("a complete copy goes unasked: %v", r)
	}
	b.say("dcn0", siteAbsent)
	b.say("dcn1", siteAbsent)
	b.say(central, siteCondemned)
	b.wantOp(o, running, "NO_SPACE", cancelled, failed, cancelled)
	b.say(central, siteAbsent)
	b.wantOp(o, failed, "NO_SPACE", cancelled, failed, cancelled)
	b.wantImage(queuedImage, "dcn0")
	if len(b.a.Replicas) != 0 || b.a.Image.Content != nil || b.a.Image.PublishTogether {
		t.Fatalf("left: %v, %v", b.a.Replicas, b.a.Image)
	}
	// The stores' complaints go when the next import reaches them.
	b.a.Image.Content = &storev1.Content{Id: contentID, Complete: true}
	b.startImport(false, "central", "dcn0")
	b.plan()
	b.say("dcn0", sitePresent)
	b.wantImage(activeImage)
}

func TestPlanImportPartlyFails(t *testing.T) {
	t.Parallel()
	b := newBoard(t)
	o := b.startImport(false, "central", "dcn0")
	b.plan()
	b.fail("dcn0", "POOL_MISSING", false)
	b.wantImage(importingImage)
	b.wantOp(o, running, "", running, failed)
	b.say(central, sitePresent)
	b.wantImage(activeImage)
	b.wantOp(o, succeeded, "", succeeded, failed)
	b.wantPhase("dcn0", phaseFailed, "POOL_MISSING")
}

func TestPlanImportFailsEverywhere(t *testing.T) {
	t.Parallel()
	b := newBoard(t)
	o := b.startImport(false, "central", "dcn0")
	b.plan()
	b.fail("dcn0", "POOL_MISSING", false)
	b.fail(central, "NO_SPACE", false)
	b.say("dcn0", siteAbsent)
	b.say(central, siteAbsent)
	b.wantOp(o, failed, "NO_SPACE", failed, failed)
	b.wantImage(queuedImage, "central", "dcn0")
}

// The data did not arrive: nothing is left, and no store is blamed.
func TestPlanImportSourceFails(t *testing.T) {
	t.Parallel()
	b := newBoard(t)
	o := b.startImport(false, "central")
	o.Source.Complete, b.a.Image.Content.Complete = false, false
	b.plan()
	b.say(central, siteFilling)
	b.a.Operations[0].Undoing = failed
	b.a.Operations[0].Error = &storev1.OperationError{Reason: "SOURCE_LOST"}
	b.plan()
	b.wantPhase(central, phaseDeleting, "")
	b.say(central, siteAbsent)
	b.wantOp(o, failed, "SOURCE_LOST", cancelled)
	b.wantImage(queuedImage)
}

// An import that began again after a restart of the hub has a new content, which the sites are told.
func TestPlanImportRestarts(t *testing.T) {
	t.Parallel()
	b := newBoard(t)
	b.startImport(false, "central")
	b.plan()
	b.say(central, siteFilling)
	before := b.replica(central).Generation
	b.a.Image.Content.Id = "another"
	b.plan()
	if r := b.replica(central); r.ContentId != "another" || r.Generation <= before || r.Phase != phasePending {
		t.Fatalf("got %v", r)
	}
}
