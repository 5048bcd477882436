package scenarios

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/e2e/lab"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// stagingTooSmall is told before the data comes when the source says how long it is.
func stagingTooSmall(l *badLab) {
	var sent atomic.Int64
	l.refused(l.serve(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(400<<20))
		for err := error(nil); err == nil; {
			var n int
			n, err = w.Write(l.qcow2[:1<<20])
			sent.Add(int64(n))
		}
	}), "staging")
	if sent.Load() > 64<<20 {
		l.T.Errorf("%d bytes were read of a file that does not fit", sent.Load())
	}
}

// centralFillsUp loses the central store's space half-way: the import has failed everywhere, with the reason.
func centralFillsUp(l *badLab) {
	g := l.gated(l.qcow2, len(l.qcow2)/2)
	id := l.everywhere(g.url)
	l.half(g)
	full := func(bytes string, is bool) {
		l.Ceph("central", "osd", "pool", "set-quota", "images", "max_bytes", bytes)
		lab.Eventually(l.T, 2*time.Minute, "the central pool is full, or has space again", func() error {
			if out := l.Ceph("central", "health", "detail"); strings.Contains(out, "POOL_FULL") != is {
				return fmt.Errorf("%s", out)
			}
			return nil
		})
	}
	full("1048576", true)
	defer full("0", false)
	g.open()
	l.fails(id, "store central") // "is full" from the OSD, or "has 0 bytes free" when the agent has seen it first
	l.remove(id)
}

// edgeDown waits for its site, and the others do not: the image is there for them.
func edgeDown(l *badLab) {
	l.Agents["dcn1"].Stop()
	l.WaitSite("dcn1", false)
	down := true
	back := func() {
		if down {
			down = false
			l.StartAgent("dcn1")
			l.WaitSite("dcn1", true)
		}
	}
	defer back()
	id := l.queue("qcow2")
	url := l.serve(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(l.qcow2) })
	method := lab.Object{"name": "web-download", "uri": url}
	l.user.Call(http.MethodPost, "/v2/images/"+id+"/import", lab.Object{"method": method, "all_stores": true, "all_stores_must_succeed": false}).
		Is(http.StatusAccepted)
	l.awaits(id, "the image is active at the others", func(img lab.Object) bool {
		return img.Text("status") == "active" && img.Text("stores") == "central,dcn0" && img.Text("os_glance_importing_to_stores") == "dcn1"
	})
	back()
	l.arrived(id, lab.Sites...)
}

// edgeClusterDown is the same for a site whose agent is there.
func edgeClusterDown(l *badLab) {
	g := l.gated(l.qcow2, len(l.qcow2)/2)
	id := l.everywhere(g.url)
	l.half(g)
	l.OSD("dcn0", "osd-stop")
	started := false
	defer func() {
		if !started {
			l.OSD("dcn0", "osd-start")
		}
	}()
	g.open()
	l.WaitReplica(id, "dcn1", "the other edge goes on", func(r *hubv1.Replica) bool {
		return r.GetProgress().GetBytesDone() > 0 || isActive(r)
	})
	started = true
	l.OSD("dcn0", "osd-start")
	l.arrived(id, lab.Sites...)
}

// deletedMeanwhile is gone, with its data and everything that was being made of it.
func deletedMeanwhile(l *badLab) {
	g := l.gated(l.qcow2, len(l.qcow2)*3/4)
	id := l.everywhere(g.url)
	l.half(g)
	l.remove(id)
	l.user.Call(http.MethodGet, "/v2/images/"+id, nil).Is(http.StatusNotFound)
	g.open()
}

// quotaReached stops data that comes without a length.
func quotaReached(l *badLab) {
	id := l.queue("raw")
	l.fetch(id, l.serve(func(w http.ResponseWriter, _ *http.Request) {
		for err := error(nil); err == nil; {
			_, err = w.Write(l.raw)
		}
	}), lab.Sites).Is(http.StatusAccepted)
	l.fails(id, "project")
	l.remove(id)
}

// quotaByDisk stops a small file that is a large disk.
func quotaByDisk(l *badLab) {
	l.run("qemu-img", "create", "-q", "-f", "qcow2", filepath.Join(l.dir, "large.qcow2"), "600M")
	l.refused(l.serveDir().URL+"/large.qcow2", "project")
}

// sameURLTwice is two images that know nothing of each other.
func sameURLTwice(l *badLab) {
	url := l.serve(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "disk.qcow2", time.Time{}, bytes.NewReader(l.qcow2))
	})
	first, second := l.queue("qcow2"), l.queue("qcow2")
	for _, id := range []string{first, second} {
		l.fetch(id, url, []string{"central"}).Is(http.StatusAccepted)
	}
	l.arrived(first, "central")
	l.arrived(second, "central")
}

// sameImageTwice is refused the second time, and the first goes on.
func sameImageTwice(l *badLab) {
	g := l.gated(l.qcow2, len(l.qcow2)/2)
	id := l.everywhere(g.url)
	l.half(g)
	l.fetch(id, g.url, lab.Sites).Is(http.StatusConflict)
	g.open()
	l.arrived(id, lab.Sites...)
}

// cancelledAnytime cancels imports that have come to a random place. One that is already done stays; of the others nothing
// does.
func cancelledAnytime(l *badLab) {
	r := seeded(l.T)
	vdi := filepath.Join(l.dir, "cancel.vdi")
	l.run("qemu-img", "convert", "-f", "qcow2", "-O", "vdi", filepath.Join(l.dir, "disk.qcow2"), vdi)
	other, err := os.ReadFile(vdi)
	l.must(err)
	for i := range 8 {
		format, data := "qcow2", l.qcow2
		if i%4 == 3 {
			format, data = "vdi", other
		}
		cancelOne(l, r, format, data)
	}
}

func cancelOne(l *badLab, r *rand.Rand, format string, data []byte) {
	l.T.Helper()
	at := r.IntN(len(data))
	g := l.gated(data, at)
	id := l.queue(format)
	l.fetch(id, g.url, lab.Sites).Is(http.StatusAccepted)
	if r.IntN(4) > 0 { // else before it begins
		l.half(g)
	}
	if r.IntN(3) == 0 { // while it is converted and written
		g.open()
		time.Sleep(time.Duration(r.IntN(1500)) * time.Millisecond) // the random moment itself
	}
	ctx := l.T.Context()
	ops, err := l.Client.Operations.ListOperations(ctx, &hubv1.ListOperationsRequest{ImageId: id})
	l.must(err)
	if len(ops.Operations) != 1 {
		l.T.Fatalf("operations: %v", ops.Operations)
	}
	_, err = l.Client.Operations.CancelOperation(ctx, &hubv1.CancelOperationRequest{Id: ops.Operations[0].Id})
	if why := reason(err); why != "" && why != "OPERATION_DONE" {
		l.T.Errorf("cancel at byte %d: %v", at, err)
	}
	done := l.Wait(ops.Operations[0])
	switch done.State {
	case hubv1.OperationState_OPERATION_STATE_SUCCEEDED:
		l.arrived(id, lab.Sites...)
		return
	case hubv1.OperationState_OPERATION_STATE_CANCELLED:
	default:
		l.T.Errorf("%s, cancelled at byte %d: %v", format, at, done)
	}
	lab.Eventually(l.T, waitShort, "a cancelled import can be repeated", func() error {
		if img := l.user.Image(id); img.Text("status") != "queued" {
			return fmt.Errorf("image: %v", img)
		}
		return nil
	})
	l.remove(id)
}

// TestImportStagingWait has two imports that fill the staging area together, so that neither can end: they fail with the
// reason and can be repeated.
func TestImportStagingWait(t *testing.T) {
	l := newImportLab(t, "--staging-limit", "96MiB", "--staging-wait", "8s")
	defer l.nothingLeft()()
	file := filepath.Join(l.dir, "disk.qcow2")
	l.run("qemu-img", "convert", "-O", "qcow2", l.disk(115<<20, 9), file)
	data, err := os.ReadFile(file)
	l.must(err)
	if len(data) < 50<<20 || len(data) > 80<<20 {
		t.Fatalf("the file has %d bytes", len(data))
	}
	g := l.gated(data, len(data)*9/10)
	var ids []string
	for range 2 {
		id := l.queue("qcow2")
		ids = append(ids, id)
		web := l.serve(func(w http.ResponseWriter, _ *http.Request) {
			for rest := data; len(rest) > 0; { // without a length
				n := min(len(rest), 1<<20)
				if _, err := w.Write(rest[:n]); err != nil {
					return
				}
				_ = http.NewResponseController(w).Flush()
				rest = rest[n:]
			}
		})
		l.fetch(id, web, []string{"central"}).Is(http.StatusAccepted)
	}
	var failed []string
	for _, id := range ids {
		lab.Eventually(t, 2*time.Minute, "the import ends", func() error {
			if m := l.message(id); !strings.HasPrefix(m, "failure: ") && l.user.Image(id).Text("status") != "active" {
				return fmt.Errorf("%v %s", l.user.Image(id), m)
			}
			return nil
		})
		m := l.message(id)
		if !strings.HasPrefix(m, "failure: ") {
			l.done(id)
			l.remove(id)
			continue
		}
		if failed = append(failed, id); !strings.Contains(m, "staging area") {
			t.Errorf("the task says %q", m)
		}
	}
	t.Logf("%d of 2 had to be repeated", len(failed))
	g.open()
	for _, id := range failed {
		l.fetch(id, g.url, []string{"central"}).Is(http.StatusAccepted)
		l.done(id)
		l.remove(id)
	}
}
