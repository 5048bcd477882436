package scenarios

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/e2e/lab"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// loseObject takes the first object of a published copy out of the cluster.
func loseObject(l *lab.Lab, site, id string) {
	l.T.Helper()
	var info struct {
		Prefix string `json:"block_name_prefix"`
	}
	if err := json.Unmarshal([]byte(l.MustRBD(site, "info", "--format", "json", "images/"+id)), &info); err != nil {
		l.T.Fatal(err)
	}
	// Without snapshots in the write's context the object goes for the snapshot too.
	l.Rados(site, "--pool", "images", "rm", info.Prefix+".0000000000000000")
}

// TestScrub proves every copy again by itself, finds a chunk that is gone from the cluster and makes the copy again. One with a
// clone is kept in quarantine until it is retried.
func TestScrub(t *testing.T) {
	l := lab.New(t, "--scrub-period-least", "1s", "--scrub-period", "8s")
	data, sum := lab.Data(32<<20, 8)
	id := l.Import(data, "central", "dcn0")
	proven := l.Replica(id, "dcn0").GetVerifyTime()
	if proven == nil {
		t.Fatal("the check before publishing proves nothing")
	}
	first := proven.AsTime()
	l.WaitReplica(id, "dcn0", "is proven again", func(r *hubv1.Replica) bool { return r.GetVerifyTime().AsTime().After(first) })

	made := l.Replica(id, "dcn0").PhaseTime.AsTime()
	loseObject(l, "dcn0", id)
	l.WaitReplica(id, "dcn0", "is made again", func(r *hubv1.Replica) bool {
		return r.GetPhase() == hubv1.ReplicaPhase_REPLICA_PHASE_ACTIVE && r.GetPhaseTime().AsTime().After(made)
	})
	if got := l.Sum("dcn0", id); got != sum {
		t.Errorf("dcn0 holds %s", got)
	}

	remove := l.Clone("dcn0", id, "2")
	loseObject(l, "dcn0", id)
	l.WaitReplica(id, "dcn0", "is in quarantine", func(r *hubv1.Replica) bool {
		return r.GetPhase() == hubv1.ReplicaPhase_REPLICA_PHASE_FAILED && r.GetReason() == "REPLICA_DAMAGED" && !r.GetRetryable() &&
			strings.Contains(r.GetMessage(), "dependants")
	})
	if img := l.Image(id); !slices.Equal(img.Stores, []string{"central"}) {
		t.Errorf("stores: %v", img.Stores)
	}
	remove()
	if out, errs, code := l.Ctl("replica", "retry", id, "dcn0"); code != 0 {
		t.Fatalf("%d %s%s", code, out, errs)
	}
	if got := l.Sum("dcn0", id); got != sum {
		t.Errorf("dcn0 holds %s after the retry", got)
	}
}
