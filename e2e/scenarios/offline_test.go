package scenarios

import (
	"strings"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/e2e/lab"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func isActive(r *hubv1.Replica) bool { return r.GetPhase() == hubv1.ReplicaPhase_REPLICA_PHASE_ACTIVE }

// TestOfflineSite accepts requests for a site that is away; they are carried out when it returns.
func TestOfflineSite(t *testing.T) {
	l := lab.New(t)
	data, sum := lab.Data(32<<20, 8)
	id := l.Import(data, "central")
	other := l.Import(data, "central", "dcn1")
	l.Agents["dcn1"].Stop()
	l.WaitSite("dcn1", false)
	began := time.Now()

	op := l.MustCopy(id, "dcn0", "dcn1")
	l.WaitReplica(id, "dcn0", "the other site does not wait", isActive)
	r := l.Replica(id, "dcn1")
	if r.GetReason() != "WAITING_FOR_SITE" || r.WaitingSince == nil || r.WaitingSince.AsTime().After(began) ||
		!strings.Contains(r.Message, "dcn1") {
		t.Errorf("it should say for whom it waits since when: %v", r)
	}
	if out, _, _ := l.Ctl("replica", "list", "--image", id); !strings.Contains(out, "dcn1") {
		t.Errorf("replica list: %s", out)
	}

	// Deletes while the site is away leave a tombstone and end.
	del, err := deleteReplica(l, other, "dcn1")
	if err != nil {
		t.Fatal(err)
	}
	if done := l.Succeeds(del); len(done.Notes) == 0 || !strings.Contains(done.Notes[0], "dcn1") {
		t.Errorf("no note about the tombstone: %v", done)
	}
	l.Succeeds(deleteImage(l, other))
	if _, err := l.Client.Images.GetImage(t.Context(), &hubv1.GetImageRequest{Id: other}); reason(err) != "IMAGE_NOT_FOUND" {
		t.Errorf("the deleted image is still shown: %v", err)
	}
	if !l.Holds("dcn1", other) {
		t.Error("nobody was there to remove the copy, and yet it is gone")
	}

	l.StartAgent("dcn1")
	l.Succeeds(op)
	if got := l.Sum("dcn1", id); got != sum {
		t.Errorf("dcn1 holds %s", got)
	}
	lab.Eventually(t, waitShort, "the tombstone is carried out", func() error {
		if l.Holds("dcn1", other) {
			return published(l, "dcn1", "nothing of "+other)
		}
		return nil
	})
}

// TestOfflineTimeout gives a copy up that waited too long, and goes on with it when the site returns all the same.
func TestOfflineTimeout(t *testing.T) {
	l := lab.New(t, "--offline-timeout", "3s")
	data, sum := lab.Data(32<<20, 8)
	id := l.Import(data, "central")
	l.Agents["dcn0"].Stop()
	l.WaitSite("dcn0", false)
	l.Fails(l.MustCopy(id, "dcn0"), "SITE_OFFLINE")
	if img := l.Image(id); len(img.FailedImport) != 1 || img.FailedImport[0] != "dcn0" {
		t.Errorf("failed stores: %v", img.FailedImport)
	}
	l.StartAgent("dcn0")
	l.WaitReplica(id, "dcn0", "goes on by itself", isActive)
	if got := l.Sum("dcn0", id); got != sum {
		t.Errorf("dcn0 holds %s", got)
	}
	if img := l.Image(id); len(img.FailedImport) != 0 {
		t.Errorf("failed stores: %v", img.FailedImport)
	}
}
