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
	two, _ := lab.Data(16*mib, 82)
	first, second := l.Import(one, "central"), l.Import(two, "central")
	before := l.moved()
	l.ctl("site", "limit", "dcn0", "--rate", "8MiB/s", "--parallel", "1")
	op := l.MustCopy(first, "dcn0")
	l.WaitReplica(first, "dcn0", "says how long it still takes", func(r *hubv1.Replica) bool {
		return r.Phase == hubv1.ReplicaPhase_REPLICA_PHASE_TRANSFERRING && r.Progress.GetTimeLeft().GetSeconds() > 0
	})
	l.ctl("image", "copy", second, "--stores", "dcn0", "--priority", "low")
	l.WaitReplica(second, "dcn0", "waits for its turn", queued)
	l.ctl("image", "copy", second, "--stores", "dcn0", "--priority", "high")
	l.WaitReplica(first, "dcn0", "is held", func(r *hubv1.Replica) bool {
		return queued(r) && r.Progress.GetBytesDone() > 0 && r.Progress.TimeLeft == nil && r.Progress.BytesPerSecond == 0
	})
	l.WaitReplica(second, "dcn0", "is complete", func(r *hubv1.Replica) bool {
		return r.Phase == hubv1.ReplicaPhase_REPLICA_PHASE_ACTIVE
	})
	l.ctl("site", "limit", "dcn0", "--clear")
	l.Succeeds(op)
	// 24 frames have a header of 16 bytes.
	if sent, want := l.moved()-before, float64(96*mib+24*16); sent != want {
		t.Errorf("%.0f bytes moved, want %.0f: %.0f sent again", sent, want, sent-want)
	}
}

func queued(r *hubv1.Replica) bool {
	return r.Phase == hubv1.ReplicaPhase_REPLICA_PHASE_PENDING && r.Reason == "QUEUED"
}
