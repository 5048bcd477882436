package session

import (
	"testing"

	dto "github.com/prometheus/client_model/go"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// A site raises copies that are on their way to its own stores, and nothing else.
func TestAwaited(t *testing.T) {
	t.Parallel()
	h := newHub(t, 0)
	const moving = storev1.ReplicaPhase_REPLICA_PHASE_TRANSFERRING
	put := func(img image.ID, store image.StoreID) {
		h.records.Put(catalog.ReplicaKey(img, store), &storev1.Replica{ImageId: string(img), StoreId: string(store), Phase: moving})
	}
	put("a", "dcn0")
	put("a", "central")
	h.connect("central", "central").desired()
	a := h.connect("dcn0", "dcn0", "central") // which is not its own
	a.desired()
	say := func(epoch uint64, keys ...*agentv1.ReplicaKey) {
		t.Helper()
		err := a.Send(&agentv1.ConnectRequest{SessionEpoch: epoch, Body: &agentv1.ConnectRequest_Awaited{Awaited: &agentv1.Awaited{Replicas: keys}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	own, other, unknown := &agentv1.ReplicaKey{ImageId: "a", StoreId: "dcn0"}, &agentv1.ReplicaKey{ImageId: "a", StoreId: "central"},
		&agentv1.ReplicaKey{ImageId: "b", StoreId: "dcn0"}
	say(a.epoch-1, own)
	say(a.epoch, other, unknown)
	a.report(a.epoch, "a") // it has been heard
	for _, store := range []image.StoreID{"dcn0", "central"} {
		if r, _ := h.records.Replica("a", store); r.Priority != 0 || r.AwaitedTime != nil {
			t.Fatalf("raised: %v", r)
		}
	}
	if r, _ := h.records.Replica("b", "dcn0"); r != nil {
		t.Fatalf("made: %v", r)
	}
	many := make([]*agentv1.ReplicaKey, mostAwaited, mostAwaited+1)
	for i := range many {
		many[i] = other
	}
	say(a.epoch, append(many, own)...)
	a.report(a.epoch, "a")
	if r, _ := h.records.Replica("a", "dcn0"); r.Priority != 0 {
		t.Fatal("more copies of a message are looked at than may be")
	}
	h.records.FailNext(fault.New(fault.Unavailable, "STORE_AWAY", "away"))
	say(a.epoch, own, own)
	a.report(a.epoch, "a")
	say(a.epoch, own)
	if d := a.desired(); len(d.Replicas) != 1 || d.Replicas[0].Priority != agentv1.Priority_PRIORITY_HIGH {
		t.Fatalf("the site is told %v", d)
	}
	say(a.epoch, own)
	a.report(a.epoch, "a")
	for outcome, want := range map[string]float64{awaitedRaised: 1, awaitedKept: 2, awaitedRefused: mostAwaited + 1, awaitedFailed: 1} {
		var m dto.Metric
		if err := h.service.awaited.WithLabelValues(outcome).Write(&m); err != nil || m.GetCounter().GetValue() != want {
			t.Errorf("%s: %.0f, %v, want %.0f", outcome, m.GetCounter().GetValue(), err, want)
		}
	}
}
