package scenarios

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/e2e/lab"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// kills is how often each of the two processes is killed in one run.
const kills = 15

// seeded returns a source of random moments whose seed is printed and can be set with ATOLL_TEST_SEED.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("ATOLL_TEST_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("ATOLL_TEST_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, seed))
}

// TestKillAgent kills the agent of a site (kill -9) at random moments of copies. No image that can be seen is ever
// incomplete, every copy ends well, and what was written is not sent again.
func TestKillAgent(t *testing.T) {
	l := lab.New(t)
	r := seeded(t)
	data, sum := lab.Data(160<<20, 160)
	id := l.Import(data, "central")
	const (
		frame    = 4<<20 + 16 // a chunk and its header
		inFlight = 8 * frame  // what may have been on its way
	)
	for killed := 0; killed < kills; {
		op := l.MustCopy(id, "dcn0")
		before := l.Metric("atoll_staging_served_bytes_total")
		round := 0
		for range r.IntN(3) + 1 {
			time.Sleep(time.Duration(r.IntN(900)) * time.Millisecond) // the random moment itself
			l.Agents["dcn0"].Kill()
			killed, round = killed+1, round+1
			if slices.Contains(l.Images("dcn0"), id) {
				if got := l.Sum("dcn0", id); got != sum {
					t.Fatalf("kill %d: dcn0 shows an image that reads as %s", killed, got)
				}
			}
			l.StartAgent("dcn0")
		}
		l.Succeeds(op)
		if got := l.Sum("dcn0", id); got != sum {
			t.Fatalf("after %d kills dcn0 holds %s", killed, got)
		}
		sent := l.Metric("atoll_staging_served_bytes_total") - before
		if most := float64(len(data)/(4<<20)*frame + round*inFlight); sent > most {
			t.Errorf("%d kills: %.0f MiB sent, at most %.0f are due", round, sent/(1<<20), most/(1<<20))
		}
		if left := slices.DeleteFunc(l.Images("dcn0"), func(n string) bool { return n == id }); len(left) > 0 {
			t.Errorf("left in the pool: %v", left)
		}
		del, err := deleteReplica(l, id, "dcn0")
		if err != nil {
			t.Fatal(err)
		}
		l.Succeeds(del)
	}
}

// TestKillHub kills the hub at random moments of imports and copies. What it acknowledged is kept, and goes on.
func TestKillHub(t *testing.T) {
	l := lab.New(t)
	r := seeded(t)
	data, sum := lab.Data(128<<20, 128)
	for killed := range kills {
		id, op := l.Upload(data, lab.Select("central", "dcn0")) // acknowledged from here on
		time.Sleep(time.Duration(r.IntN(1500)) * time.Millisecond)
		l.Hub.Kill()
		l.StartHub()
		l.Succeeds(op)
		for _, s := range []string{"central", "dcn0"} {
			if got := l.Sum(s, id); got != sum {
				t.Fatalf("kill %d: %s holds %s", killed, s, got)
			}
		}
		l.Succeeds(deleteImage(l, id))
	}
	for _, s := range lab.Sites {
		if names := l.Images(s); len(names) > 0 {
			t.Errorf("left in the pool of %s: %v", s, names)
		}
	}
}

// TestKillHubDuringUpload loses the upload, says so, and leaves nothing behind.
func TestKillHubDuringUpload(t *testing.T) {
	l := lab.New(t)
	data, _ := lab.Data(256<<20, 256)
	id := l.Create("interrupted")
	result, killed := make(chan error, 1), make(chan struct{})
	go func() {
		_, err := l.Client.Upload(t.Context(), &hubv1.UploadHeader{Id: id, SizeBytes: int64(len(data)), Target: lab.Select("dcn0")},
			&heldReader{data: data, hold: len(data) / 2, killed: killed}, nil)
		result <- err
	}()
	l.WaitReplica(id, "dcn0", "data arrives", func(r *hubv1.Replica) bool { return r.GetProgress().GetBytesReceived() > 16<<20 })
	l.Hub.Kill()
	close(killed)
	select {
	case err := <-result:
		if err == nil {
			t.Error("an upload succeeded whose hub was killed")
		}
	case <-time.After(time.Minute):
		t.Fatal("an upload does not end although its hub was killed")
	}
	l.StartHub()
	lab.Eventually(t, waitShort, "the import is undone", func() error {
		if img := l.Image(id); img.Status != hubv1.ImageStatus_IMAGE_STATUS_QUEUED {
			return errNotYet
		}
		for _, s := range []string{"central", "dcn0"} {
			if names := l.Images(s); len(names) > 0 {
				return fmt.Errorf("%s holds %v", s, names)
			}
		}
		return nil
	})
	resp, err := l.Client.Operations.ListOperations(t.Context(), &hubv1.ListOperationsRequest{ImageId: id})
	if err != nil || len(resp.Operations) != 1 || resp.Operations[0].Error.GetReason() != "UPLOAD_INTERRUPTED" {
		t.Errorf("operations: %v %v", resp, err)
	}
}

// heldReader hands out its data, but the last hold bytes of it only when the hub has been killed.
type heldReader struct {
	data   []byte
	hold   int
	killed <-chan struct{}
}

func (h *heldReader) Read(p []byte) (int, error) {
	free := len(h.data) - h.hold
	if free == 0 {
		<-h.killed
		h.hold, free = 0, len(h.data)
	}
	n := copy(p, h.data[:min(free, 1<<20)])
	h.data = h.data[n:]
	if n == 0 {
		return 0, fmt.Errorf("the hub should have been killed before the end")
	}
	return n, nil
}

// TestLostJournal resumes from what the hidden image itself holds.
func TestLostJournal(t *testing.T) {
	l := lab.New(t)
	data, sum := lab.Data(256<<20, 256)
	id := l.Import(data, "central")
	op := l.MustCopy(id, "dcn0")
	l.WaitReplica(id, "dcn0", "half is there", func(r *hubv1.Replica) bool { return r.GetProgress().GetBytesDone() > 120<<20 })
	l.Agents["dcn0"].Kill()
	if err := os.RemoveAll(l.State("dcn0") + "/journal"); err != nil {
		t.Fatal(err)
	}
	before := l.Metric("atoll_staging_served_bytes_total")
	l.StartAgent("dcn0")
	l.Succeeds(op)
	if got := l.Sum("dcn0", id); got != sum {
		t.Errorf("dcn0 holds %s", got)
	}
	if sent := l.Metric("atoll_staging_served_bytes_total") - before; sent > 170<<20 {
		t.Errorf("%.0f MiB sent again", sent/(1<<20))
	}
}

// TestBadInput is refused with the name of the field, and changes nothing.
func TestBadInput(t *testing.T) {
	l := lab.New(t)
	dir := t.TempDir()
	empty := dir + "/empty.raw"
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	full := dir + "/full.raw"
	if err := os.WriteFile(full, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		text string
	}{
		{[]string{"image", "import", full, "--name", "x", "--stores", "nowhere"}, 2, "nowhere"},
		{[]string{"image", "import", full, "--name", "x", "--stores", "Bad Name"}, 2, "stores"},
		{[]string{"image", "import", full, "--name", "x", "--stores", "central", "--all-stores"}, 2, "all-stores"},
		{[]string{"image", "import", empty, "--name", "x", "--stores", "central"}, 2, "empty"},
		{[]string{"image", "import", dir + "/missing", "--name", "x", "--stores", "central"}, 2, "missing"},
		{[]string{"image", "import", dir, "--name", "x", "--stores", "central"}, 2, ""},
		{[]string{"image", "show", "not-a-uuid-and-no-name"}, 3, "not-a-uuid"},
		{[]string{"image", "show", "00000000-0000-4000-8000-000000000000"}, 3, "00000000"},
		{[]string{"replica", "retry", "00000000-0000-4000-8000-000000000000", "central"}, 3, ""},
		{[]string{"site", "create", "UPPER"}, 2, "site.id"},
		{[]string{"site", "show", "nowhere"}, 3, "nowhere"},
		{[]string{"operation", "show", "nonsense"}, 2, "id"},
		{[]string{"site", "delete", "central", "--no-such-flag"}, 2, "no-such-flag"},
	} {
		out, errs, code := l.Ctl(c.args...)
		if code != c.code || !strings.Contains(errs, c.text) {
			t.Errorf("%v: exit code %d, want %d with %q: %s%s", c.args, code, c.code, c.text, out, errs)
		}
	}
	resp, err := l.Client.Images.ListImages(t.Context(), &hubv1.ListImagesRequest{})
	if err != nil || len(resp.Images) != 0 {
		t.Errorf("created by refused requests: %v %v", resp, err)
	}
	for _, s := range lab.Sites {
		if names := l.Images(s); len(names) > 0 {
			t.Errorf("left in the pool of %s: %v", s, names)
		}
	}
}

// TestRefusedAgents are told why, and so is the operator.
func TestRefusedAgents(t *testing.T) {
	l := lab.New(t)
	if _, errs, code := l.Ctl("site", "revoke", "dcn0"); code != 0 {
		t.Fatal(errs)
	}
	l.WaitSite("dcn0", false)
	lab.Eventually(t, waitShort, "both ends say why", func() error {
		out, _, _ := l.Ctl("site", "show", "dcn0")
		if !strings.Contains(out, "CERT_REVOKED") || !strings.Contains(l.Log("dcn0"), "CERT_REVOKED") {
			return fmt.Errorf("site show: %s", out)
		}
		return nil
	})
	token, err := l.Client.Sites.CreateJoinToken(t.Context(), &hubv1.CreateJoinTokenRequest{SiteId: "dcn0"})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := l.AgentJoin("dcn1", token.JoinToken); err == nil || !strings.Contains(out, "dcn0") {
		t.Errorf("a token of another site: %v %s", err, out)
	}
	if out, err := l.AgentJoin("dcn0", token.JoinToken); err != nil {
		t.Fatalf("join again: %v %s", err, out)
	}
	if out, err := l.AgentJoin("dcn0", token.JoinToken); err == nil || !strings.Contains(out, "TOKEN_INVALID") {
		t.Errorf("a token works twice: %v %s", err, out)
	}
	l.WaitSite("dcn0", true)
}
