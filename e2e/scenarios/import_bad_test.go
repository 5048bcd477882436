package scenarios

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/e2e/lab"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// badLab is a lab whose sources misbehave.
type badLab struct {
	*importLab
	qcow2 []byte // a good file
	sum   string // SHA-256 of the disk in it
	raw   []byte // the disk
}

// TestImportTrouble brings images in from sources and into stores that fail, in every way that there is. Each time the reason
// is clear, the image can be imported again or is gone, and nothing is left anywhere.
func TestImportTrouble(t *testing.T) {
	l := newImportLab(t, "--staging-limit", "256MiB", "--project-storage-limit", "512MiB")
	b := &badLab{importLab: l}
	disk := l.disk(96<<20, 7)
	file := filepath.Join(l.dir, "disk.qcow2")
	l.run("qemu-img", "convert", "-O", "qcow2", disk, file)
	var err error
	b.qcow2, err = os.ReadFile(file)
	l.must(err)
	b.raw, err = os.ReadFile(disk)
	l.must(err)
	b.sum = l.sumFile(disk)
	for _, test := range []struct {
		name string
		run  func(*badLab)
	}{
		{"a server without ranges", withoutRanges},
		{"a server with ranges that breaks", breaksWithRanges},
		{"an ETag that changes", changingETag},
		{"a length that is too long", tooLong},
		{"a length that is too short", tooShort},
		{"a certificate of nobody", nobodysCertificate},
		{"a web page", webPage},
		{"a directory", directoryListing},
		{"a file that was cut", cutFile},
		{"an empty file", emptyFile},
		{"a staging area that is too small", stagingTooSmall},
		{"a central store that fills up", centralFillsUp},
		{"an edge that is down", edgeDown},
		{"an edge whose cluster is down", edgeClusterDown},
		{"deleted meanwhile", deletedMeanwhile},
		{"a quota that is reached", quotaReached},
		{"a quota that the disk reaches", quotaByDisk},
		{"the same URL twice", sameURLTwice},
		{"the same image twice", sameImageTwice},
		{"cancelled at any moment", cancelledAnytime},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := *b
			c.importLab = b.in(t)
			defer c.nothingLeft()()
			test.run(&c)
		})
	}
}

// serve starts a web server for one test.
func (l *importLab) serve(f http.HandlerFunc) string {
	web := httptest.NewServer(f)
	l.T.Cleanup(web.Close)
	return web.URL + "/disk.qcow2"
}

// cut ends an answer without its end.
func cut() { panic(http.ErrAbortHandler) }

// arrived checks that an image is at all of its stores, with the good disk, and removes it.
func (l *badLab) arrived(id string, sites ...string) {
	l.T.Helper()
	l.done(id)
	for _, s := range sites {
		if got := l.Sum(s, id); got != l.sum {
			l.T.Errorf("%s holds %s, want %s", s, got, l.sum)
		}
	}
	l.remove(id)
}

// everywhere begins an import of a qcow2 to all sites.
func (l *badLab) everywhere(url string, more ...lab.Object) string {
	l.T.Helper()
	id := l.queue("qcow2")
	l.fetch(id, url, lab.Sites, more...).Is(http.StatusAccepted)
	return id
}

// refused imports a qcow2 that cannot be imported, and removes the image.
func (l *badLab) refused(url, want string) {
	l.T.Helper()
	id := l.everywhere(url)
	l.fails(id, want)
	l.remove(id)
}

// withoutRanges begins again from the first byte when the answer breaks off, and goes on where it was.
func withoutRanges(l *badLab) {
	var asked atomic.Int32
	id := l.everywhere(l.serve(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(l.qcow2)))
		if asked.Add(1) <= 2 {
			_, _ = w.Write(l.qcow2[:len(l.qcow2)/2])
			cut()
		}
		_, _ = w.Write(l.qcow2)
	}))
	l.arrived(id, lab.Sites...)
	if asked.Load() < 3 {
		l.T.Errorf("asked %d times", asked.Load())
	}
}

// breaksWithRanges asks for the rest only, also of a source that breaks off again and again.
func breaksWithRanges(l *badLab) {
	var sent atomic.Int64
	id := l.everywhere(l.serve(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"one"`)
		http.ServeContent(&dripping{ResponseWriter: w, left: 6 << 20, sent: &sent}, r, "disk.qcow2", time.Time{}, bytes.NewReader(l.qcow2))
	}))
	l.arrived(id, "central", "dcn1")
	if most := int64(len(l.qcow2)) * 3 / 2; sent.Load() > most {
		l.T.Errorf("%d bytes were sent for a file of %d", sent.Load(), len(l.qcow2))
	}
}

// dripping is an answer that breaks off after some bytes.
type dripping struct {
	http.ResponseWriter
	left int
	sent *atomic.Int64
}

func (d *dripping) Write(p []byte) (int, error) {
	n, err := d.ResponseWriter.Write(p[:min(len(p), d.left)])
	d.sent.Add(int64(n))
	if d.left -= n; d.left == 0 {
		_ = http.NewResponseController(d.ResponseWriter).Flush()
		cut()
	}
	return n, err
}

// changingETag serves other data when it is asked for the rest: the two halves are never put together.
func changingETag(l *badLab) {
	var asked atomic.Int32
	other := bytes.Repeat([]byte("other"), len(l.qcow2)/5+1)[:len(l.qcow2)]
	l.refused(l.serve(func(w http.ResponseWriter, r *http.Request) {
		n := asked.Add(1)
		data := l.qcow2
		if n > 1 {
			data = other
		}
		w.Header().Set("ETag", fmt.Sprintf(`"version %d"`, min(n, 2)))
		d := &dripping{ResponseWriter: w, left: 20 << 20, sent: new(atomic.Int64)}
		http.ServeContent(d, r, "disk.qcow2", time.Time{}, bytes.NewReader(data))
	}), "changed")
}

// tooLong announces more than it sends.
func tooLong(l *badLab) {
	l.refused(l.serve(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(l.qcow2)+4096))
		if r.Method == http.MethodGet {
			_, _ = w.Write(l.qcow2)
		}
	}), "stopped before all bytes had come")
}

// tooShort announces less than the file is long: the rest never comes, and the file is no whole disk.
func tooShort(l *badLab) {
	l.refused(l.serve(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(l.qcow2)/3))
		_, _ = w.Write(l.qcow2[:len(l.qcow2)/3])
	}), "")
}

// nobodysCertificate is not trusted, and the reason says so.
func nobodysCertificate(l *badLab) {
	web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(l.qcow2) }))
	defer web.Close()
	l.refused(web.URL+"/disk.qcow2", "certificate")
}

// webPage is what a login form answers to every request.
func webPage(l *badLab) {
	l.refused(l.serve(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte("<!DOCTYPE html><html><body>Please log in</body></html>"))
	}), "web page")
}

// directoryListing is the URL of a directory instead of a file.
func directoryListing(l *badLab) {
	web := l.serveDir()
	l.refused(web.URL+"/", "web page")
}

// cutFile was damaged before it was put on the server: the length is right there.
func cutFile(l *badLab) {
	for _, part := range []int{100, 70000, len(l.qcow2) / 2, len(l.qcow2) - 65536} {
		l.refused(l.serve(func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "disk.qcow2", time.Time{}, bytes.NewReader(l.qcow2[:part]))
		}), "")
	}
}

func emptyFile(l *badLab) {
	l.refused(l.serve(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "0") }), "empty")
}

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

// gate is a source whose last part waits until it is opened.
type gate struct {
	url    string
	sent   chan struct{} // closed when all before the last part has been sent
	opened chan struct{}
	once   sync.Once
}

// gated serves data, whose bytes from at on wait for the gate.
func (l *importLab) gated(data []byte, at int) *gate {
	g := &gate{sent: make(chan struct{}), opened: make(chan struct{})}
	var sent sync.Once
	g.url = l.serve(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		_, _ = w.Write(data[:at])
		_ = http.NewResponseController(w).Flush()
		sent.Do(func() { close(g.sent) })
		select {
		case <-g.opened:
			_, _ = w.Write(data[at:])
		case <-r.Context().Done():
		}
	})
	l.T.Cleanup(g.open)
	return g
}

func (g *gate) open() { g.once.Do(func() { close(g.opened) }) }

// half waits until half of an import's data has come.
func (l *importLab) half(g *gate) {
	l.T.Helper()
	select {
	case <-g.sent:
	case <-time.After(time.Minute):
		l.T.Fatal("nobody reads the source")
	}
}

// centralFillsUp loses the central store's space half-way: the import has failed everywhere, with the reason.
func centralFillsUp(l *badLab) {
	g := l.gated(l.qcow2, len(l.qcow2)/2)
	id := l.everywhere(g.url)
	l.half(g)
	l.Ceph("central", "osd", "pool", "set-quota", "images", "max_bytes", "1048576")
	defer l.Ceph("central", "osd", "pool", "set-quota", "images", "max_bytes", "0")
	lab.Eventually(l.T, waitShort, "the central pool is full", func() error {
		if out := l.Ceph("central", "health", "detail"); !strings.Contains(out, "POOL_FULL") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	g.open()
	l.fails(id, "space")
	l.remove(id)
}

// edgeDown waits for its site, and the others do not: the image is there for them.
func edgeDown(l *badLab) {
	l.Agents["dcn1"].Stop()
	l.WaitSite("dcn1", false)
	id := l.queue("qcow2")
	url := l.serve(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(l.qcow2) })
	method := lab.Object{"name": "web-download", "uri": url}
	l.user.Call(http.MethodPost, "/v2/images/"+id+"/import", lab.Object{"method": method, "all_stores": true, "all_stores_must_succeed": false}).
		Is(http.StatusAccepted)
	l.awaits(id, "the image is active at the others", func(img lab.Object) bool {
		return img.Text("status") == "active" && img.Text("stores") == "central,dcn0" && img.Text("os_glance_importing_to_stores") == "dcn1"
	})
	l.StartAgent("dcn1")
	l.WaitSite("dcn1", true)
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
	l := newImportLab(t, "--staging-limit", "96MiB", "--staging-wait", "3s")
	defer l.nothingLeft()()
	file := filepath.Join(l.dir, "disk.qcow2")
	l.run("qemu-img", "convert", "-O", "qcow2", l.disk(150<<20, 9), file)
	data, err := os.ReadFile(file)
	l.must(err)
	if len(data) < 50<<20 || len(data) > 90<<20 {
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
	failed := 0
	for _, id := range ids {
		lab.Eventually(t, 2*time.Minute, "the import ends", func() error {
			if m := l.message(id); !strings.HasPrefix(m, "failure: ") && l.user.Image(id).Text("status") != "active" {
				return fmt.Errorf("%v %s", l.user.Image(id), m)
			}
			return nil
		})
		if m := l.message(id); strings.HasPrefix(m, "failure: ") {
			failed++
			if !strings.Contains(m, "staging area") {
				t.Errorf("the task says %q", m)
			}
			l.fetch(id, g.url, []string{"central"}).Is(http.StatusAccepted)
			g.open()
		}
		l.done(id)
		l.remove(id)
	}
	t.Logf("%d of 2 had to be repeated", failed)
}
