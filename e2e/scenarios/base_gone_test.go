package scenarios

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/atoll-dcn/atoll/e2e/lab"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// Two second versions go to a site at the same time, on the same base, and the base is deleted under way: both arrive as they should
// be, and nothing of the base stays.
func TestBaseDeletedUnderWay(t *testing.T) {
	l, _ := lab.NewEdge(t) // limits are for what goes over the network
	const mib = 1 << 20
	data, _ := lab.Data(72*mib, 72)
	base := l.Import(data, "central", "dcn0")
	limit := func(args ...string) {
		t.Helper()
		if _, errs, code := l.Ctl(append([]string{"site", "limit", "dcn0"}, args...)...); code != 0 {
			t.Fatalf("atollctl site limit: exit code %d: %s", code, errs)
		}
	}
	limit("--rate", "512KiB/s")
	var ids, sums []string
	var ops []*hubv1.Operation
	for i := range byte(2) {
		next := mixed(data, i)
		h := sha256.Sum256(next)
		id := l.Import(next, "central")
		ids, sums, ops = append(ids, id), append(sums, hex.EncodeToString(h[:])), append(ops, l.MustCopy(id, "dcn0"))
	}
	for _, id := range ids {
		l.WaitReplica(id, "dcn0", "uses the base", func(r *hubv1.Replica) bool {
			return r.GetBase().GetImageId() == base && r.GetProgress().GetBytesSaved() > 0
		})
	}
	l.Succeeds(deleteImage(l, base))
	for i, id := range ids {
		if r := l.Replica(id, "dcn0"); r.GetPhase() != hubv1.ReplicaPhase_REPLICA_PHASE_TRANSFERRING {
			t.Errorf("version %d was not under way any more: %v", i, r.GetPhase())
		}
	}
	limit("--clear")
	for i, op := range ops {
		l.Succeeds(op)
		if got := l.Sum("dcn0", ids[i]); got != sums[i] {
			t.Errorf("version %d: dcn0 holds %s, want %s", i, got, sums[i])
		}
		p := l.Replica(ids[i], "dcn0").Progress
		t.Logf("version %d: %d KiB received, %d KiB saved", i, p.BytesReceived>>10, p.BytesSaved>>10)
	}
	if left := l.Images("dcn0"); len(left) != 2 || slices.Contains(left, base) {
		t.Errorf("dcn0 holds %v", left)
	}
}

// mixed returns data with a MiB of something new before every three MiB.
func mixed(data []byte, seed byte) []byte {
	const mib = 1 << 20
	var out bytes.Buffer
	r := rand.NewChaCha8([32]byte{seed})
	for part := range slices.Chunk(data, 3*mib) {
		fresh := make([]byte, mib)
		_, _ = r.Read(fresh) // never fails
		out.Write(fresh)
		out.Write(part)
	}
	return out.Bytes()
}
