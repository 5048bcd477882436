// Package scenarios has the behaviour users rely on, on three real Ceph clusters with the real programs.
package scenarios

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/e2e/lab"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func TestImportToAllStores(t *testing.T) {
	l := lab.New(t)
	data, sum := lab.Data(256<<20, 100)
	id := l.Create("everywhere")
	img := l.Image(id)
	if img.Status != hubv1.ImageStatus_IMAGE_STATUS_QUEUED {
		t.Fatalf("status %s", img.Status)
	}
	path := filepath.Join(l.Dir, "disk.raw")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs, code := l.Ctl("image", "import", path, "--id", id, "--all-stores")
	if code != 0 {
		t.Fatalf("exit code %d: %s%s", code, out, errs)
	}
	l.Stores(id, lab.Sites...)
	for _, s := range lab.Sites {
		if got := l.Sum(s, id); got != sum {
			t.Errorf("%s holds %s, want %s", s, got, sum)
		}
		if info := l.MustRBD(s, "snap", "ls", "images/"+id); !strings.Contains(info, "yes") {
			t.Errorf("%s: snapshot not protected: %s", s, info)
		}
	}
	img = l.Image(id)
	for i, loc := range img.Locations {
		if i == 0 && loc.Store != "central" {
			t.Errorf("the first location is at %s", loc.Store)
		}
		fsid := l.Ceph(loc.Store, "fsid")
		if want := fmt.Sprintf("rbd://%s/images/%s/snap", fsid, id); loc.Url != want {
			t.Errorf("location %s, want %s", loc.Url, want)
		}
	}
	back := filepath.Join(l.Dir, "back.raw")
	if out, errs, code := l.Ctl("image", "download", id, back); code != 0 {
		t.Fatalf("download: %d %s%s", code, out, errs)
	}
	if got, err := os.ReadFile(back); err != nil || !slices.Equal(got, data) {
		t.Errorf("the downloaded image differs (%v)", err)
	}
}

// TestImportAddsCentral also uses TLS for the frames, as agents on other hosts do.
func TestImportAddsCentral(t *testing.T) {
	l := lab.New(t)
	data, sum := lab.Data(64<<20, 20)
	id := l.Import(data, "dcn0")
	l.Stores(id, "central", "dcn0")
	if got := l.Sum("dcn0", id); got != sum {
		t.Errorf("dcn0 holds %s", got)
	}
}

// TestCopyReadsCentralOnce copies from the central pool, with nothing in the staging area, to two sites at once. What
// the central agent receives comes from its Ceph cluster.
func TestCopyReadsCentralOnce(t *testing.T) {
	l := lab.New(t, "--staging-retention", "0s")
	data, sum := lab.Data(256<<20, 120)
	id := l.Import(data, "central")
	lab.Eventually(t, time.Minute, "the staging area is empty", func() error { return stagedFrames(l, id) })
	before := l.Agents["central"].Received()
	l.Succeeds(l.MustCopy(id, "dcn0", "dcn1"))
	read := l.Agents["central"].Received() - before
	for _, s := range []string{"dcn0", "dcn1"} {
		if got := l.Sum(s, id); got != sum {
			t.Errorf("%s holds %s", s, got)
		}
	}
	if offered := l.Metric("atoll_staging_offered_bytes_total"); offered > 121<<20 {
		t.Errorf("%.0f bytes were offered for an image with 120 MiB of data", offered)
	}
	if limit := int64(130 << 20); read > limit {
		t.Errorf("central read %d MiB for an image with 120 MiB of data", read>>20)
	}
}

// stagedFrames returns an error while frames of any content are on the hub's disk.
func stagedFrames(l *lab.Lab, _ string) error {
	files, err := filepath.Glob(filepath.Join(l.Dir, "hub", "staging", "contents", "*", "frames", "*"))
	if err == nil && len(files) > 0 {
		err = fmt.Errorf("%d frames", len(files))
	}
	return err
}

func TestCopyRules(t *testing.T) {
	l := lab.New(t)
	data, _ := lab.Data(32<<20, 8)
	id := l.Import(data, "central")
	l.Succeeds(l.MustCopy(id, "dcn0"))
	if _, err := l.Copy(id, lab.Select("dcn0", "dcn1")); reason(err) != "REPLICA_EXISTS" {
		t.Errorf("a named store that has it: %v", err)
	}
	l.Stores(id, "central", "dcn0")
	op, err := l.Copy(id, &hubv1.StoreSelection{AllStores: true})
	if err != nil {
		t.Fatal(err)
	}
	if done := l.Succeeds(op); len(done.Stores) != 1 || done.Stores[0].StoreId != "dcn1" {
		t.Errorf("all-stores should skip those that have it: %v", done.Stores)
	}
	queued := l.Create("no data")
	if _, err := l.Copy(queued, lab.Select("dcn0")); reason(err) != "NOT_ACTIVE" {
		t.Errorf("copy without data: %v", err)
	}
}

// TestCopiesJoin races two identical copies again and again: both must succeed, with one transfer.
func TestCopiesJoin(t *testing.T) {
	l := lab.New(t)
	data, _ := lab.Data(24<<20, 5)
	id := l.Import(data, "central")
	for i := range 50 {
		type answer struct {
			op  *hubv1.Operation
			err error
		}
		answers := make(chan answer, 2)
		for range 2 {
			go func() {
				op, err := l.Copy(id, lab.Select("dcn0"))
				answers <- answer{op, err}
			}()
		}
		for range 2 {
			a := <-answers
			if a.err != nil {
				if reason(a.err) == "REPLICA_EXISTS" {
					continue // the other one had finished before this one began
				}
				t.Fatalf("round %d: %v", i, a.err)
			}
			l.Succeeds(a.op)
		}
		if r := l.Replica(id, "dcn0"); r.GetPhase() != hubv1.ReplicaPhase_REPLICA_PHASE_ACTIVE || r.Attempts != 0 {
			t.Fatalf("round %d: %v", i, r)
		}
		resp, err := l.Client.Replicas.DeleteReplica(t.Context(), &hubv1.DeleteReplicaRequest{ImageId: id, StoreId: "dcn0"})
		if err != nil {
			t.Fatal(err)
		}
		l.Succeeds(resp.Operation)
	}
	if n := strings.Count(l.Log("dcn0"), "fill published"); n != 50 {
		t.Errorf("%d transfers for 50 rounds", n)
	}
}

// TestEmptyImage has nothing to send however large the image is.
func TestEmptyImage(t *testing.T) {
	l := lab.New(t)
	path := filepath.Join(l.Dir, "empty.raw")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	const size = 3<<30 + 512 // not a whole number of chunks
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	out, errs, code := l.Ctl("image", "import", path, "--name", "empty", "--all-stores", "-o", "json")
	if code != 0 {
		t.Fatalf("exit code %d: %s%s", code, out, errs)
	}
	for _, s := range lab.Sites {
		names := l.Images(s)
		if len(names) != 1 {
			t.Fatalf("%s: %v", s, names)
		}
		if info := l.MustRBD(s, "info", "--format", "json", "images/"+names[0]); !strings.Contains(info, fmt.Sprint(int64(size))) {
			t.Errorf("%s: %s", s, info)
		}
		if du := l.MustRBD(s, "du", "--format", "json", "images/"+names[0]); !strings.Contains(du, `"used_size":0`) {
			t.Errorf("%s: %s", s, du)
		}
	}
}
