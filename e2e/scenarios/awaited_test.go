package scenarios

import (
	"net/http"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/e2e/lab"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// Somebody at a site who asks for an image that is on its way there makes it go first, whether it stands in line or moves
// already.
func TestAwaited(t *testing.T) {
	plain, at := lab.NewEdge(t)
	l := throttled{&lab.Hubs{Lab: plain}}
	const mib = 1 << 20
	imported := func(size int64) string {
		data, _ := lab.Data(size, int(size/mib))
		return l.Import(data, "central")
	}
	big, queuing, moving, other := imported(320*mib), imported(12*mib), imported(100*mib), imported(4*mib)
	l.ctl("site", "limit", "dcn0", "--rate", "8MiB/s", "--parallel", "1")
	op := l.MustCopy(big, "dcn0")
	l.WaitReplica(big, "dcn0", "moves", flows)
	l.MustCopy(queuing, "dcn0")
	l.WaitReplica(queuing, "dcn0", "waits for its turn", queued)

	// None of these is a boot that waits.
	at.Call(http.MethodGet, "/v2/images", nil).Is(http.StatusOK)
	at.Call(http.MethodGet, "/v2/images/"+queuing+"/members", nil)
	at.Call(http.MethodGet, "/v2/images/"+other, nil).Is(http.StatusOK)
	if n := l.Metric(awaitedCopies); n != 0 || l.Replica(queuing, "dcn0").GetAwaitedTime() != nil {
		t.Fatalf("the hub has been told of %.0f copies", n)
	}

	l.bootWaits(at, queuing)
	if out := l.ctl("replica", "list", "--image", queuing, "--store", "dcn0"); !strings.Contains(out, " awaited ") {
		t.Errorf("replica list: %s", out)
	}
	l.overtakes(queuing, big)

	l.ctl("site", "limit", "dcn0", "--parallel", "2")
	second := l.MustCopy(moving, "dcn0")
	l.WaitReplica(big, "dcn0", "goes on", flows)
	l.WaitReplica(moving, "dcn0", "moves", flows)
	l.bootWaits(at, moving)
	l.overtakes(moving, big)
	l.ctl("site", "limit", "dcn0", "--clear")
	l.Succeeds(second)
	l.Succeeds(op)
	if r := l.Replica(other, "dcn0"); r != nil {
		t.Errorf("a copy that nobody has asked for: %v", r)
	}
	if r := l.Replica(moving, "dcn0"); r.GetAwaitedTime() != nil || r.GetPriority() != 0 {
		t.Errorf("a complete copy: %v", r)
	}
}

const awaitedCopies = "atoll_hub_awaited_copies_total"

// bootWaits asks for an image as Nova does, until the hub has let it go first.
func (l throttled) bootWaits(at *lab.Actor, id string) {
	l.T.Helper()
	before := l.Metric(awaitedCopies)
	answer := at.Call(http.MethodGet, "/v2/images/"+id, nil).Is(http.StatusOK)
	if stores := answer.JSON().Text("stores"); strings.Contains(stores, "dcn0") {
		l.T.Fatalf("already in %s", stores)
	}
	r := l.WaitReplica(id, "dcn0", "is raised", func(r *hubv1.Replica) bool { return r.GetAwaitedTime() != nil })
	if r.GetPriority() != hubv1.Priority_PRIORITY_HIGH {
		l.T.Errorf("raised to %v", r.GetPriority())
	}
	for range 5 {
		at.Call(http.MethodGet, "/v2/images/"+id, nil).Is(http.StatusOK)
	}
	told := 0.0
	lab.Eventually(l.T, waitShort, "the hub counts it", func() error { // after it has written it
		if told = l.Metric(awaitedCopies) - before; told == 0 {
			return errNotYet
		}
		return nil
	})
	if told != 1 {
		l.T.Errorf("the hub has been told %.0f times", told)
	}
}

// overtakes waits until a copy at dcn0 is complete, which another one that has begun before must not have been by then.
func (l throttled) overtakes(id, other string) {
	l.T.Helper()
	at := l.WaitReplica(id, "dcn0", "is complete", complete).GetPhaseTime().AsTime()
	if r := l.Replica(other, "dcn0"); complete(r) && !r.GetPhaseTime().AsTime().After(at) {
		l.T.Errorf("the other copy was complete before: %v", r)
	}
}

func flows(r *hubv1.Replica) bool {
	return r.GetPhase() == hubv1.ReplicaPhase_REPLICA_PHASE_TRANSFERRING && r.GetProgress().GetBytesDone() > 0
}

func complete(r *hubv1.Replica) bool { return r.GetPhase() == hubv1.ReplicaPhase_REPLICA_PHASE_ACTIVE }
