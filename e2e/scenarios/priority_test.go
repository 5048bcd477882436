package scenarios

import (
	"testing"

	"github.com/atoll-dcn/atoll/e2e/lab"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// A site fills as many copies as it may; the one that is raised goes first, the other is held and goes on where it was.
func TestPriority(t *testing.T) {
	t.Parallel()
	l := throttled{lab.NewHubs(t, 1, false)}
	const mib = 1 << 20
	one, _ := lab.Data(80*mib, 81)
	two, _ := lab.Data(48*mib, 82)
	first, second := l.Import(one, "central"), l.Import(two, "central")
	before := l.moved()
	// Either takes far longer than this test needs to see what it does, however slow the machine is.
	l.ctl("site", "limit", "dcn0", "--rate", "2MiB/s", "--parallel", "1")
	op := l.MustCopy(first, "dcn0")
	l.WaitReplica(first, "dcn0", "says how long it still takes", func(r *hubv1.Replica) bool {
		return r.GetPhase() == hubv1.ReplicaPhase_REPLICA_PHASE_TRANSFERRING && r.GetProgress().GetTimeLeft().GetSeconds() > 0
	})
	copyAs := func(p hubv1.Priority) {
		t.Helper()
		_, err := l.Client.Replicas.ReplicateImage(t.Context(), &hubv1.ReplicateImageRequest{
			ImageId: second, Target: &hubv1.StoreSelection{Stores: []string{"dcn0"}}, Priority: p,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	copyAs(hubv1.Priority_PRIORITY_LOW)
	l.WaitReplica(second, "dcn0", "waits for its turn", queued)
	copyAs(hubv1.Priority_PRIORITY_HIGH)
	l.WaitReplica(first, "dcn0", "is held", func(r *hubv1.Replica) bool {
		return queued(r) && r.Progress.GetBytesDone() > 0 && r.Progress.TimeLeft == nil && r.Progress.BytesPerSecond == 0
	})
	l.ctl("site", "limit", "dcn0", "--rate", "32MiB/s")
	l.WaitReplica(second, "dcn0", "is complete", func(r *hubv1.Replica) bool {
		return r.GetPhase() == hubv1.ReplicaPhase_REPLICA_PHASE_ACTIVE
	})
	l.ctl("site", "limit", "dcn0", "--clear")
	l.Succeeds(op)
	// 32 frames have a header of 16 bytes.
	if sent, want := l.moved()-before, float64(128*mib+32*16); sent != want {
		t.Errorf("%.0f bytes moved, want %.0f: %.0f sent again", sent, want, sent-want)
	}
}

func queued(r *hubv1.Replica) bool {
	return r.GetPhase() == hubv1.ReplicaPhase_REPLICA_PHASE_PENDING && r.GetReason() == "QUEUED"
}
