package scenarios

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/e2e/lab"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

var errNotYet = errors.New("not yet")

// TestAllMustSucceed undoes everything when one store fails, and leaves the image ready for another try.
func TestAllMustSucceed(t *testing.T) {
	l := lab.New(t)
	reconfigure(l, "dcn1", lab.Options{"pool": "missing", "user": "admin"})
	data, sum := lab.Data(32<<20, 8)
	id := l.Create("all or nothing")
	target := &hubv1.StoreSelection{Stores: []string{"dcn0", "dcn1"}, AllMustSucceed: true}
	op, err := l.Client.Upload(t.Context(), &hubv1.UploadHeader{Id: id, Target: target}, bytes.NewReader(data), nil)
	if err == nil { // the data was faster than the failure
		l.Fails(op, "POOL_MISSING")
	} else if reason(err) != "POOL_MISSING" || !strings.Contains(err.Error(), "dcn1") {
		t.Errorf("the error should name the reason and the store: %v", err)
	}
	lab.Eventually(t, waitShort, "the import is undone", func() error {
		if l.Image(id).Status != hubv1.ImageStatus_IMAGE_STATUS_QUEUED {
			return errNotYet
		}
		return nil
	})
	img := l.Image(id)
	if img.Status != hubv1.ImageStatus_IMAGE_STATUS_QUEUED || len(img.FailedImport) != 1 || img.FailedImport[0] != "dcn1" {
		t.Errorf("image: %v", img)
	}
	for _, s := range []string{"central", "dcn0"} {
		if l.Holds(s, id) {
			t.Errorf("%s still holds %v", s, l.Images(s))
		}
	}
	path := filepath.Join(l.Dir, "again.raw")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, errs, code := l.Ctl("image", "import", path, "--id", id, "--stores", "dcn0", "--all-must-succeed"); code != 0 {
		t.Fatalf("another try: %d %s%s", code, out, errs)
	}
	if got := l.Sum("dcn0", id); got != sum {
		t.Errorf("dcn0 holds %s", got)
	}
}

// reconfigure restarts an agent with another configuration and waits until it is connected again.
func reconfigure(l *lab.Lab, site string, o lab.Options) {
	l.T.Helper()
	l.Agents[site].Stop()
	l.Configure(site, o)
	l.WaitSite(site, false)
	l.StartAgent(site)
	lab.Eventually(l.T, waitShort, "site "+site, func() error {
		resp, err := l.Client.Sites.GetSite(l.T.Context(), &hubv1.GetSiteRequest{Id: site})
		if err == nil && !resp.Site.Connected {
			err = errNotYet
		}
		return err
	})
}

// TestTroubleAtOneStore has one clear reason, and the other stores go on.
func TestTroubleAtOneStore(t *testing.T) {
	l := lab.New(t, "--retry-max", "2s", "--retry-initial", "1s")
	data, _ := lab.Data(64<<20, 48)
	for _, trouble := range []struct {
		reason     string
		spoil, fix func()
		config     lab.Options
	}{
		{reason: "POOL_MISSING", config: lab.Options{"pool": "missing", "user": "admin"}},
		{reason: "NO_ACCESS", config: lab.Options{"user": "nobody"}},
		{
			reason: "NO_SPACE",
			spoil:  func() { l.Ceph("dcn1", "osd", "pool", "set-quota", "images", "max_bytes", "1048576") },
			fix:    func() { l.Ceph("dcn1", "osd", "pool", "set-quota", "images", "max_bytes", "0") },
		},
	} {
		t.Run(trouble.reason, func(t *testing.T) {
			if trouble.spoil != nil {
				trouble.spoil()
				defer trouble.fix()
			}
			if trouble.config != nil {
				reconfigure(l, "dcn1", trouble.config)
				defer func() {
					reconfigure(l, "dcn1", nil)
					l.WaitSite("dcn1", true)
				}()
			}
			id, op := l.Upload(data, lab.Select("dcn0", "dcn1"))
			done := l.Wait(op)
			for _, s := range done.Stores {
				switch s.StoreId {
				case "dcn1":
					if s.Error.GetReason() != trouble.reason || s.Error.GetMessage() == "" {
						t.Errorf("dcn1: %v", s)
					}
				default:
					if s.State != hubv1.OperationState_OPERATION_STATE_SUCCEEDED {
						t.Errorf("%s: %v", s.StoreId, s)
					}
				}
			}
			if img := l.Image(id); len(img.FailedImport) != 1 || len(img.Stores) != 2 {
				t.Errorf("image: %v", img)
			}
		})
	}
}

// TestOSDDown waits for a cluster that does not answer and goes on when it does.
func TestOSDDown(t *testing.T) {
	l := lab.New(t, "--retry-max", "2s", "--retry-initial", "1s")
	data, sum := lab.Data(64<<20, 48)
	id := l.Import(data, "central")
	l.OSD("dcn0", "osd-stop")
	started := false
	defer func() {
		if !started {
			l.OSD("dcn0", "osd-start")
		}
	}()
	op := l.MustCopy(id, "dcn0", "dcn1")
	l.WaitReplica(id, "dcn1", "the other site goes on", isActive)
	l.WaitReplica(id, "dcn0", "says why it waits", func(r *hubv1.Replica) bool { return r.GetReason() == "STORE_UNREACHABLE" })
	l.OSD("dcn0", "osd-start")
	started = true
	l.Succeeds(op)
	if got := l.Sum("dcn0", id); got != sum {
		t.Errorf("dcn0 holds %s", got)
	}
}

// TestDamagedFrame flips a bit in the staging area: the chunk is fetched again from central and never published.
func TestDamagedFrame(t *testing.T) {
	l := lab.New(t)
	data, sum := lab.Data(64<<20, 48)
	id := l.Import(data, "central")
	frames, err := filepath.Glob(filepath.Join(l.Dir, "hub", "staging", "contents", "*", "frames", "*"))
	if err != nil || len(frames) == 0 {
		t.Fatalf("no frames: %v", err)
	}
	for _, f := range frames[:3] {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 1
		if err := os.WriteFile(f, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	done := l.Succeeds(l.MustCopy(id, "dcn0"))
	if got := l.Sum("dcn0", id); got != sum {
		t.Errorf("dcn0 holds %s", got)
	}
	if n := done.Stores[0].Replica.Progress.GetChunksRepaired(); n < 3 {
		t.Errorf("%d chunks repaired, want 3 or more", n)
	}
}

// TestVerify finds a chunk that is gone from the cluster and withdraws the location.
func TestVerify(t *testing.T) {
	l := lab.New(t, "--repair", "off")
	data, _ := lab.Data(32<<20, 8)
	id := l.Import(data, "central", "dcn0")
	if out, errs, code := l.Ctl("replica", "verify", id, "dcn0"); code != 0 {
		t.Fatalf("a good copy: %d %s%s", code, out, errs)
	}
	loseObject(l, "dcn0", id)
	out, errs, code := l.Ctl("replica", "verify", id, "dcn0")
	if code != 1 || !strings.Contains(errs, "REPLICA_DAMAGED") {
		t.Fatalf("a damaged copy: %d %s%s", code, out, errs)
	}
	if img := l.Image(id); len(img.Stores) != 1 || img.Stores[0] != "central" {
		t.Errorf("stores: %v", img.Stores)
	}
}

// TestImportFromURL fetches, and refuses what cannot be fetched without creating anything.
func TestImportFromURL(t *testing.T) {
	l := lab.New(t)
	data, sum := lab.Data(48<<20, 16)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/disk.raw":
			_, _ = w.Write(data)
		case "/short.raw":
			w.Header().Set("Content-Length", "50331648")
			_, _ = w.Write(data[:1<<20])
		case "/empty.raw":
		default:
			http.NotFound(w, r)
		}
	}))
	defer web.Close()
	out, errs, code := l.Ctl("image", "import", web.URL+"/disk.raw", "--name", "web", "--stores", "dcn0", "-o", "json")
	if code != 0 {
		t.Fatalf("%d %s%s", code, out, errs)
	}
	id := l.Images("dcn0")[0]
	if got := l.Sum("dcn0", id); got != sum {
		t.Errorf("dcn0 holds %s", got)
	}
	for _, name := range []string{"/missing.raw", "/empty.raw", "/short.raw"} {
		out, errs, code := l.Ctl("image", "import", web.URL+name, "--name", "bad", "--stores", "dcn0")
		if code == 0 {
			t.Errorf("%s: %s%s", name, out, errs)
		}
	}
	if names := l.Images("dcn0"); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
}

// TestStagingSmallerThanImage lets an image flow through a staging area that cannot hold it.
func TestStagingSmallerThanImage(t *testing.T) {
	l := lab.New(t, "--staging-limit", "64MiB")
	data, sum := lab.Data(512<<20, 256)
	id := l.Import(data, "central", "dcn0")
	if got := l.Sum("dcn0", id); got != sum {
		t.Errorf("dcn0 holds %s", got)
	}
	l.Succeeds(l.MustCopy(id, "dcn1"))
	if got := l.Sum("dcn1", id); got != sum {
		t.Errorf("dcn1 holds %s", got)
	}
}
