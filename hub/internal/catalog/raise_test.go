package catalog_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

func TestRaiseReplica(t *testing.T) {
	t.Parallel()
	const low, normal, high = storev1.Priority_PRIORITY_LOW, storev1.Priority_PRIORITY_NORMAL, storev1.Priority_PRIORITY_HIGH
	const transferring, verifying = storev1.ReplicaPhase_REPLICA_PHASE_TRANSFERRING, storev1.ReplicaPhase_REPLICA_PHASE_VERIFYING
	for name, c := range map[string]struct {
		phase    storev1.ReplicaPhase
		priority storev1.Priority
		change   func(*storev1.Replica)
		want     bool
	}{
		"waits for its turn":    {phase: pending, want: true},
		"moves":                 {phase: transferring, priority: normal, want: true},
		"was to go last":        {phase: transferring, priority: low, want: true},
		"goes first already":    {phase: transferring, priority: high},
		"has all its data":      {phase: verifying},
		"is complete":           {phase: active},
		"has been given up":     {phase: failed},
		"is being removed":      {phase: deleting},
		"may be about to go":    {phase: pending, change: func(r *storev1.Replica) { r.Removal = storev1.Removal_REMOVAL_CHECKING }},
		"is being taken over":   {phase: pending, change: func(r *storev1.Replica) { r.Adopted = true }},
		"does not exist at all": {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			id := w.active(phases{"central": active})
			if c.phase != 0 {
				r := &storev1.Replica{ImageId: string(id), StoreId: "dcn0", SiteId: "dcn0", Phase: c.phase, Priority: c.priority, Generation: 7}
				if c.change != nil {
					c.change(r)
				}
				w.records.Put(catalog.ReplicaKey(id, "dcn0"), r)
			}
			old, _ := w.records.Replica(id, "dcn0")
			before := w.records.Commits()
			raised, err := w.RaiseReplica(t.Context(), id, "dcn0")
			if err != nil || raised != c.want {
				t.Fatalf("raised %t, %v", raised, err)
			}
			r, _ := w.records.Replica(id, "dcn0")
			if !c.want {
				if w.records.Commits() != before || !proto.Equal(r, old) {
					t.Fatalf("changed to %v", r)
				}
				return
			}
			if r.Priority != high || !r.AwaitedTime.AsTime().Equal(w.now) || r.Generation != 7 || r.Phase != c.phase {
				t.Fatalf("got %v", r)
			}
			if again, err := w.RaiseReplica(t.Context(), id, "dcn0"); err != nil || again || w.records.Commits() != before+1 {
				t.Fatalf("raised twice: %t, %v", again, err)
			}
		})
	}
}

// What happens at the same moment counts.
func TestRaiseReplicaRaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.active(phases{"dcn0": pending})
	w.records.FailNext(fault.New(fault.Unavailable, "STORE_AWAY", "away"))
	raised, err := w.RaiseReplica(t.Context(), id, "dcn0")
	wantFault(t, err, fault.Unavailable, "STORE_AWAY")
	if raised {
		t.Fatal("said to be raised although nothing has been written")
	}
	w.records.RaceNext(func() {
		old, _ := w.records.Replica(id, "dcn0")
		r := proto.CloneOf(old)
		r.Phase = active
		w.records.Put(catalog.ReplicaKey(id, "dcn0"), r)
	})
	if raised, err = w.RaiseReplica(t.Context(), id, "dcn0"); err != nil || raised {
		t.Fatalf("raised %t, %v: the copy has become complete", raised, err)
	}
}
