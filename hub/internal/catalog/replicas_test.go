package catalog_test

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

type phases = map[image.StoreID]storev1.ReplicaPhase

func TestReplicate(t *testing.T) {
	t.Parallel()
	some := func(stores ...string) catalog.Target { return catalog.Target{Stores: stores} }
	for name, c := range map[string]struct {
		copies  phases
		target  catalog.Target
		stores  []string // of the operation
		restart bool     // the copy in dcn0 begins again
		class   fault.Class
		reason  string
	}{
		"new store":              {copies: phases{"central": active}, target: some("dcn0"), stores: []string{"dcn0"}},
		"named store has a copy": {copies: phases{"central": active, "dcn0": active}, target: some("dcn0", "dcn1"), class: fault.Exists, reason: "REPLICA_EXISTS"},
		"all skips those":        {copies: phases{"central": active, "dcn0": active}, target: catalog.Target{All: true}, stores: []string{"dcn1"}},
		"all have it": {
			copies: phases{"central": active, "dcn0": active, "dcn1": active}, target: catalog.Target{All: true},
			class: fault.Exists, reason: "REPLICA_EXISTS",
		},
		"joins a running copy":  {copies: phases{"central": active, "dcn0": pending}, target: some("dcn0"), stores: []string{"dcn0"}},
		"restarts a failed one": {copies: phases{"central": active, "dcn0": failed}, target: some("dcn0"), stores: []string{"dcn0"}, restart: true},
		"follows a removal":     {copies: phases{"central": active, "dcn0": deleting}, target: some("dcn0"), stores: []string{"dcn0"}},
		"not in central":        {copies: phases{"dcn0": active}, target: some("dcn1"), class: fault.Precondition, reason: "NOT_IN_CENTRAL"},
		"failed in central":     {copies: phases{"dcn0": active, "central": failed}, target: some("dcn1"), class: fault.Precondition, reason: "NOT_IN_CENTRAL"},
		"leaving central":       {copies: phases{"dcn0": active, "central": deleting}, target: some("dcn1"), class: fault.Precondition, reason: "NOT_IN_CENTRAL"},
		"central together":      {copies: phases{"dcn0": active}, target: some("dcn1", "central"), stores: []string{"central", "dcn1"}},
		"unknown priority": {
			copies: phases{"central": active}, target: catalog.Target{Stores: []string{"dcn0"}, Priority: 9}, class: fault.Invalid, reason: "INVALID_FIELD",
		},
		"no target": {copies: phases{"central": active}, class: fault.Invalid, reason: "INVALID_FIELD"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			id := w.active(c.copies)
			w.change(id, func(img *storev1.Image) { img.FailedStores = []string{"dcn0", "dcn1"} })
			before := w.records.Commits()
			op, err := w.Replicate(t.Context(), id, c.target, "")
			if c.reason != "" {
				wantFault(t, err, c.class, c.reason)
				if w.records.Commits() != before {
					t.Fatal("a refused copy changed something")
				}
				return
			}
			if err != nil || !slices.Equal(storesOf(op), c.stores) {
				t.Fatalf("got %v, %v, want stores %v", op, err, c.stores)
			}
			img, _ := w.records.Image(id)
			for _, s := range c.stores {
				if slices.Contains(img.FailedStores, s) {
					t.Fatalf("store %s still counts as failed", s)
				}
			}
			r, _ := w.records.Replica(id, "dcn0")
			if restarted := r.GetGeneration() > 7; restarted != c.restart || c.restart && (r.Phase != pending || r.Attempts != 0) {
				t.Fatalf("restarted: %t: %v", restarted, r)
			}
		})
	}
}

func TestReplicateNeedsActiveImage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.Replicate(t.Context(), w.queued(), catalog.Target{All: true}, "")
	wantFault(t, err, fault.Precondition, "NOT_ACTIVE")
}

func TestRetryReplica(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.active(phases{"central": active, "dcn0": failed, "dcn1": deleting})
	_, err := w.RetryReplica(t.Context(), id, "central")
	wantFault(t, err, fault.Exists, "REPLICA_EXISTS")
	_, err = w.RetryReplica(t.Context(), id, "dcn1")
	wantFault(t, err, fault.Precondition, "BEING_DELETED")
	_, err = w.RetryReplica(t.Context(), id, "nowhere")
	wantFault(t, err, fault.NotFound, "REPLICA_NOT_FOUND")
	op, err := w.RetryReplica(t.Context(), id, "dcn0")
	if err != nil || !slices.Equal(storesOf(op), []string{"dcn0"}) {
		t.Fatalf("got %v, %v", op, err)
	}
	r, _ := w.records.Replica(id, "dcn0")
	if r.Phase != pending || r.Attempts != 0 || r.Generation != uint64(w.now.UnixMilli()) {
		t.Fatalf("got %v", r)
	}
	r = proto.CloneOf(r)
	r.Phase, r.Reason = failed, catalog.ReasonDamaged
	r.Adopted = true
	w.records.Put(catalog.ReplicaKey(id, "dcn0"), r)
	_, err = w.RetryReplica(t.Context(), id, "dcn0")
	wantFault(t, err, fault.Precondition, catalog.ReasonDamaged)
	r = proto.CloneOf(r)
	r.Adopted = false
	w.records.Put(catalog.ReplicaKey(id, "dcn0"), r)
	if _, err = w.RetryReplica(t.Context(), id, "dcn0"); err != nil {
		t.Fatal(err)
	}
	if r, _ = w.records.Replica(id, "dcn0"); r.Phase != pending || r.Repair != storev1.Repair_REPAIR_CHECKING {
		t.Fatalf("a damaged copy is not taken away first: %v", r)
	}
}

func TestVerifyReplica(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.active(phases{"central": active, "dcn0": pending})
	_, err := w.VerifyReplica(t.Context(), id, "dcn0")
	wantFault(t, err, fault.Precondition, "NOT_ACTIVE")
	for want := uint64(1); want <= 2; want++ {
		op, err := w.VerifyReplica(t.Context(), id, "central")
		r, _ := w.records.Replica(id, "central")
		if err != nil || op.VerifyGeneration != want || r.VerifyGeneration != want || r.Generation != 7 ||
			!r.VerifyRequestTime.AsTime().Equal(w.now) {
			t.Fatalf("got %v, %v, %v", op, r, err)
		}
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.active(phases{"central": active, "dcn0": active})
	wantFault(t, w.Cancel(t.Context(), image.NewID()), fault.NotFound, "OPERATION_NOT_FOUND")
	verify, err := w.VerifyReplica(t.Context(), id, "central")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Cancel(t.Context(), image.ID(verify.Id)); err != nil {
		t.Fatal(err)
	}
	if o, _ := w.records.Operation(image.ID(verify.Id)); o.State != storev1.OperationState_OPERATION_STATE_CANCELLED || o.Stores[0].State != o.State || o.EndTime == nil {
		t.Fatalf("got %v", o)
	}
	wantFault(t, w.Cancel(t.Context(), image.ID(verify.Id)), fault.Precondition, "OPERATION_DONE")
	del, err := w.DeleteReplica(t.Context(), id, "dcn0")
	if err != nil {
		t.Fatal(err)
	}
	wantFault(t, w.Cancel(t.Context(), image.ID(del.Id)), fault.Precondition, "NOT_CANCELLABLE")
}
