package reconcile

import (
	"context"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/staging"
	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// imported returns a sim with an image that has a copy in every store.
func imported(t *testing.T) (*sim, image.ID) {
	t.Helper()
	s := newSim(t)
	id := s.createImage(t)
	op, err := s.upload(id, catalog.Target{All: true})
	if err == nil {
		err = s.arrive(op)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.settle()
	return s, id
}

// TestCopyFollowsATombstone: a copy asked for while an earlier one waits to be removed is made after the removal.
func TestCopyFollowsATombstone(t *testing.T) {
	t.Parallel()
	s, id := imported(t)
	s.connect("dcn0", false)
	if _, err := s.catalog.DeleteReplica(context.Background(), id, "dcn0"); err != nil {
		t.Fatal(err)
	}
	s.settle()
	op, err := s.catalog.Replicate(context.Background(), id, catalog.Target{Stores: []string{"dcn0"}}, "")
	if err != nil {
		t.Fatal(err)
	}
	s.settle()
	s.connect("dcn0", true)
	s.settle()
	o, _ := s.records.Operation(image.ID(op.Id))
	r, _ := s.records.Replica(id, "dcn0")
	if o.State != storev1.OperationState_OPERATION_STATE_SUCCEEDED || r.GetPhase() != storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE {
		t.Fatalf("operation %v, replica %v", o, r)
	}
}

// TestRefusedImageDeleteKeepsReplicaDelete: the refusal of one request does not undo another.
func TestRefusedImageDeleteKeepsReplicaDelete(t *testing.T) {
	t.Parallel()
	s, id := imported(t)
	s.stores[central].copies[id].clones = 1
	one, err := s.catalog.DeleteReplica(context.Background(), id, "dcn0")
	if err != nil {
		t.Fatal(err)
	}
	all, err := s.catalog.DeleteImage(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	s.settle()
	if o, _ := s.records.Operation(image.ID(all.Id)); o.State != storev1.OperationState_OPERATION_STATE_FAILED {
		t.Fatalf("the delete of an image in use: %v", o)
	}
	if o, _ := s.records.Operation(image.ID(one.Id)); o.State != storev1.OperationState_OPERATION_STATE_SUCCEEDED {
		t.Fatalf("the delete of one copy: %v", o)
	}
	if r, _ := s.records.Replica(id, "dcn0"); r != nil {
		t.Fatalf("the copy is still there: %v", r)
	}
}

// TestVerificationOfAFailedCopyEnds: a copy that has been given up is not looked at any more.
func TestVerificationOfAFailedCopyEnds(t *testing.T) {
	t.Parallel()
	s, id := imported(t)
	op, err := s.catalog.VerifyReplica(context.Background(), id, "dcn0")
	if err != nil {
		t.Fatal(err)
	}
	s.stores["dcn0"].copies[id].published = "another content"
	s.settle()
	if o, _ := s.records.Operation(image.ID(op.Id)); o.State != storev1.OperationState_OPERATION_STATE_FAILED {
		t.Fatalf("operation %v", o)
	}
}

// countingStaging counts what it is told.
type countingStaging struct {
	noStaging
	told int
}

func (c *countingStaging) SetNeeds(map[image.ID]staging.Need) { c.told++ }

// TestNeedsWaitForAllImages: a list that lacks images would let the staging area drop the only copy of one.
func TestNeedsWaitForAllImages(t *testing.T) {
	t.Parallel()
	area := &countingStaging{}
	n := NewNeeds(newSim(t).records, area, func(map[image.SiteID][]*agentv1.Offer) {}, hclog.NewNullLogger())
	n.set(image.NewID(), imageNeed{content: image.NewID()})
	n.pass()
	if area.told != 0 {
		t.Fatal("the staging area was told a part of the needs")
	}
	n.complete()
	n.pass()
	if area.told != 1 {
		t.Fatalf("the staging area was told %d times", area.told)
	}
}
