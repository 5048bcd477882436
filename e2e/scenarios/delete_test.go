package scenarios

import (
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/e2e/lab"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func deleteReplica(l *lab.Lab, id, store string) (*hubv1.Operation, error) {
	resp, err := l.Client.Replicas.DeleteReplica(l.T.Context(), &hubv1.DeleteReplicaRequest{ImageId: id, StoreId: store})
	return resp.GetOperation(), err
}

func deleteImage(l *lab.Lab, id string) *hubv1.Operation {
	l.T.Helper()
	resp, err := l.Client.Images.DeleteImage(l.T.Context(), &hubv1.DeleteImageRequest{Id: id})
	if err != nil {
		l.T.Fatal(err)
	}
	return resp.Operation
}

func TestDeleteFromOneStore(t *testing.T) {
	l := lab.New(t)
	data, _ := lab.Data(32<<20, 8)
	id := l.Import(data, "central", "dcn0")
	op, err := deleteReplica(l, id, "dcn0")
	if err != nil {
		t.Fatal(err)
	}
	l.Succeeds(op)
	l.Stores(id, "central")
	_, err = deleteReplica(l, id, "central")
	mustFail(t, "the last copy", err, "LAST_COPY")
	_, err = deleteReplica(l, id, "dcn1")
	mustFail(t, "no copy", err, "REPLICA_NOT_FOUND")
	l.Stores(id, "central")
	l.Succeeds(deleteImage(l, id))
	for _, s := range lab.Sites {
		if l.Holds(s, id) {
			t.Errorf("%s still holds %v", s, l.Images(s))
		}
	}
}

// TestCopyWithClones must stay, by both kinds of delete and for both kinds of clones, and a refused delete of the image
// must have deleted nothing anywhere.
func TestCopyWithClones(t *testing.T) {
	l := lab.New(t)
	data, sum := lab.Data(32<<20, 8)
	for _, format := range []string{"1", "2"} {
		id := l.Import(data, "central", "dcn0", "dcn1")
		remove := l.Clone("dcn0", id, format)
		op, err := deleteReplica(l, id, "dcn0")
		if err != nil {
			t.Fatal(err)
		}
		l.Fails(op, "IN_USE")
		l.Stores(id, lab.Sites...)
		refused := l.Fails(deleteImage(l, id), "IN_USE")
		if !strings.Contains(refused.Error.Message, "dcn0") {
			t.Errorf("the error does not name the store: %s", refused.Error.Message)
		}
		if l.Image(id).Status != hubv1.ImageStatus_IMAGE_STATUS_ACTIVE {
			t.Errorf("status %s", l.Image(id).Status)
		}
		for _, s := range lab.Sites { // names taken away for the check come back
			l.WaitReplica(id, s, "active again", func(r *hubv1.Replica) bool {
				return r.GetPhase() == hubv1.ReplicaPhase_REPLICA_PHASE_ACTIVE && l.Holds(s, id)
			})
			lab.Eventually(t, waitShort, s+" is published again", func() error { return published(l, s, id) })
			if got := l.Sum(s, id); got != sum {
				t.Errorf("%s holds %s after the refused delete", s, got)
			}
		}
		if got := l.SumOf("dcn0", "images/clone-of-"+id); got != sum {
			t.Errorf("the clone reads as %s", got)
		}
		remove()
		l.Succeeds(deleteImage(l, id))
		for _, s := range lab.Sites {
			if l.Holds(s, id) {
				t.Errorf("%s still holds %v", s, l.Images(s))
			}
		}
	}
}

// slowly copies an image to dcn0, over a line so slow that the copy is not complete before the test ends it, and to other stores. It
// returns the image, the sum of its data, and the copy, which has begun.
func (l throttled) slowly(others ...string) (id, sum string, op *hubv1.Operation) {
	l.T.Helper()
	data, sum := lab.Data(512<<20, 400)
	id = l.Import(data, "central")
	l.ctl("site", "limit", "dcn0", "--rate", "8MiB/s")
	op = l.MustCopy(id, append(others, "dcn0")...)
	l.WaitReplica(id, "dcn0", "data arrives", func(r *hubv1.Replica) bool { return r.GetProgress().GetBytesReceived() > 8<<20 })
	return id, sum, op
}

func TestDeleteDuringCopy(t *testing.T) {
	plain, _ := lab.NewEdge(t)
	l := throttled{&lab.Hubs{Lab: plain}}
	id, _, op := l.slowly("dcn1")
	l.Succeeds(deleteImage(l.Lab, id))
	if done := l.Wait(op); done.State != hubv1.OperationState_OPERATION_STATE_CANCELLED {
		t.Errorf("the copy: %v", done)
	}
	for _, s := range lab.Sites {
		if l.Holds(s, id) {
			t.Errorf("%s still holds %v", s, l.Images(s))
		}
	}
}

func TestCancelCopy(t *testing.T) {
	plain, _ := lab.NewEdge(t)
	l := throttled{&lab.Hubs{Lab: plain}}
	id, sum, op := l.slowly()
	if _, err := l.Client.Operations.CancelOperation(t.Context(), &hubv1.CancelOperationRequest{Id: op.Id}); err != nil {
		t.Fatal(err)
	}
	if done := l.Wait(op); done.State != hubv1.OperationState_OPERATION_STATE_CANCELLED {
		t.Errorf("the copy: %v", done)
	}
	if l.Holds("dcn0", id) {
		t.Errorf("dcn0 still holds %v", l.Images("dcn0"))
	}
	l.ctl("site", "limit", "dcn0", "--clear")
	l.Succeeds(l.MustCopy(id, "dcn0"))
	if got := l.Sum("dcn0", id); got != sum {
		t.Errorf("dcn0 holds %s", got)
	}
}

func TestProtectedImage(t *testing.T) {
	l := lab.New(t)
	resp, err := l.Client.Images.CreateImage(t.Context(), &hubv1.CreateImageRequest{Image: &hubv1.Image{Name: "kept", Protected: true}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.Client.Images.DeleteImage(t.Context(), &hubv1.DeleteImageRequest{Id: resp.Image.Id})
	mustFail(t, "delete", err, "PROTECTED")
}
