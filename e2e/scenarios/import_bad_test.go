package scenarios

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/e2e/lab"
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
	l := newImportLab(t, "--staging-limit", "200MiB", "--project-storage-limit", "400MiB")
	b := &badLab{importLab: l}
	disk := l.disk(64<<20, 7)
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
	l.T.Cleanup(func() { closeNow(web) })
	return web.URL + "/disk.qcow2"
}

// closeNow ends a web server with all that it still serves: a server waits for its answers otherwise, and a hub that reads on
// although the test has failed would keep it waiting for ever.
func closeNow(web *httptest.Server) {
	web.CloseClientConnections()
	web.Close()
}

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
	case <-time.After(2 * time.Minute):
		l.T.Fatal("nobody reads the source")
	}
}
