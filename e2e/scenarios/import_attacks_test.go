package scenarios

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/e2e/lab"
)

// attackRows are the published attacks on image services that imports have to withstand, by their number in the list that the
// project keeps.
var attackRows = []int{7, 8, 13, 14, 18, 19, 21, 22, 23, 24, 25, 27, 37, 38, 39, 45, 46, 47}

// attacks are carried out on a real hub with real clusters.
var attacks = []struct {
	row  int // 0: an attack without an advisory
	name string
	run  func(*attacked)
}{
	{7, "commands in locations and URLs", commandsInLocations},
	{8, "uploads larger than the limit", largeUploads},
	{8, "downloads larger than the limit", largeDownloads},
	{8, "disks larger than the limit", largeDisks},
	{13, "a hub that dies during an import", dyingHub},
	{14, "qcow2 with a backing file", backingFile},
	{18, "qcow2 with loops and huge tables", hungryQCOW2},
	{18, "damaged disks of all formats", damagedDisks},
	{19, "vmdk that names files of the host", flatVMDK},
	{21, "qcow2 external data file", externalDataFile},
	{22, "disks that are said to be raw", saidToBeRaw},
	{23, "encoded addresses", encodedAddresses},
	{23, "redirects to the inside", redirects},
	{24, "the old tasks", oldTasks},
	{25, "a scanner of ports", portScanner},
	{27, "signatures over MD5", weakSignatures},
	{37, "archives that climb", climbingArchives},
	{38, "virtual sizes", virtualSizes},
	{39, "bombs", bombs},
	{39, "qcow2 whose clusters are all the same", sharedClusters},
	{45, "disks of another format than they are said to be", wrongFormats},
	{46, "checksums after the conversion", checksumFirst},
	{47, "URLs of files", fileURLs},
	{0, "slow bodies", slowBodies},
	{0, "endless bodies", endlessBodies},
}

// attacksElsewhere are tests in a process of their own: what they need, such as a resolver that lies, no real hub has.
var attacksElsewhere = []struct {
	row       int
	dir, test string
}{
	{23, "hub/internal/importer/outside", "TestRow23Rebinding"},
	{23, "hub/internal/importer/outside", "TestRow23RebindingDuringTransfer"},
	{23, "hub/internal/importer/outside", "TestRow23EncodedAddresses"},
	{23, "hub/internal/importer/outside", "TestRow23Redirects"},
	{25, "hub/internal/importer/outside", "TestRow25NoScanner"},
	{47, "hub/internal/importer/outside", "TestRow47Schemes"},
}

// TestAttackRows fails when an attack of the list has no test, or a test is named that is not there.
func TestAttackRows(t *testing.T) {
	tested := map[int]bool{}
	for _, a := range attacks {
		tested[a.row] = true
	}
	for _, row := range attackRows {
		if !tested[row] {
			t.Errorf("row %d has no test on a real hub", row)
		}
	}
	for row := range tested {
		if row != 0 && !slices.Contains(attackRows, row) {
			t.Errorf("row %d is not in the list", row)
		}
	}
	for _, e := range attacksElsewhere {
		files, err := filepath.Glob(filepath.Join("../..", e.dir, "*_test.go"))
		if err != nil || !slices.ContainsFunc(files, func(file string) bool {
			b, err := os.ReadFile(file)
			return err == nil && bytes.Contains(b, []byte("func "+e.test+"(t *testing.T)"))
		}) {
			t.Errorf("row %d: %s has no %s (%v)", e.row, e.dir, e.test, err)
		}
	}
}

// attacked is a lab that is attacked.
type attacked struct {
	*importLab
	small  string // a raw disk of 16 MiB with 1 MiB of data
	web    *httptest.Server
	files  *offers
	asked  *atomic.Int32 // connections to what is inside
	inside string        // the address of what is inside, where the hub may not go
	victim string        // a file of the host with a secret
}

// sizeLimit is the longest image in this lab.
const sizeLimit = 64 << 20

// memoryLimit is what the hub may take, whatever users send.
const memoryLimit = 512 << 20

// TestImportAttacks is the hostile corpus. Nothing of it is published, reads files of the host, reaches what is inside, takes
// much of the hub, or stays anywhere.
func TestImportAttacks(t *testing.T) {
	a := &attacked{files: new(offers), asked: new(atomic.Int32)}
	a.inside = listenInside(t, a.asked)
	a.web = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, ok := a.files.get(r.URL.Path)
		if !ok {
			http.NotFound(w, r)
			return
		}
		http.ServeContent(w, r, "disk.img", time.Time{}, bytes.NewReader(data))
	}))
	t.Cleanup(func() { closeNow(a.web) })
	// What is inside is on this machine, too, at another address.
	a.importLab = newImportLab(t, "--image-size-limit", "64MiB", "--import-allow-networks", "127.0.0.1/32")
	a.small = filepath.Join(a.dir, "small.raw")
	data, _ := lab.Data(16<<20, 4)
	a.must(os.WriteFile(a.small, data, 0o600))
	a.victim = filepath.Join(a.dir, "passwd")
	a.must(os.WriteFile(a.victim, []byte(strings.Repeat(secretWord+"\n", 1000)), 0o644)) //nolint:gosec // as a careless host has it
	for _, test := range attacks {
		t.Run(fmt.Sprintf("row %d: %s", test.row, test.name), func(t *testing.T) {
			b := *a
			b.importLab = a.in(t)
			defer b.nothingLeft()()
			defer func() { a.Hub = b.Hub }() // one that was killed has a successor
			test.run(&b)
			if n := a.asked.Load(); n > 0 {
				t.Errorf("the inside was reached %d times", n)
			}
			if peak := b.Hub.PeakMemory(); peak > memoryLimit {
				t.Errorf("the hub took %d MiB", peak>>20)
			}
		})
	}
}

// listenInside listens where users must not get, counts who connects, and returns the address.
func listenInside(t *testing.T, asked *atomic.Int32) string {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			asked.Add(1)
			_, _ = conn.Write([]byte("HTTP/1.0 200 OK\r\nContent-Length: 22\r\n\r\n" + secretWord))
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

// offer serves data and returns its URL.
func (l *attacked) offer(data []byte) string { return l.web.URL + l.files.add(data) }

// offers are what a web server serves. A hub may still ask for one while the next is added.
type offers struct {
	mu   sync.Mutex
	data [][]byte
}

func (o *offers) add(data []byte) (path string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.data = append(o.data, data)
	return "/" + strconv.Itoa(len(o.data)-1) + ".img"
}

func (o *offers) get(path string) ([]byte, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(path, "/"), ".img"))
	if err != nil || n < 0 || n >= len(o.data) {
		return nil, false
	}
	return o.data[n], true
}

// refuses imports data in all ways and checks that each fails with a message that contains want, leaks nothing and publishes
// nothing.
func (l *attacked) refuses(format string, data []byte, want string) {
	l.T.Helper()
	l.refusesURL(format, l.offer(data), want)
	l.refusesStaged(format, data, want)
}

// refusesURL imports from a URL. It may be refused at once, or when the hub has looked.
func (l *attacked) refusesURL(format, url, want string, more ...lab.Object) {
	l.T.Helper()
	id := l.queue(format, more...)
	answer := l.fetch(id, url, []string{"central", "dcn0"})
	text := string(answer.Body)
	if answer.Code == http.StatusAccepted {
		l.fails(id, want)
		text = l.message(id)
	} else {
		answer.Is(http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	if leaks(text) {
		l.T.Errorf("%s: the message says too much: %s", url, text)
	}
	if status := l.user.Image(id).Text("status"); status != "queued" {
		l.T.Errorf("%s: the image is %s", url, status)
	}
	l.remove(id)
}

// refusesStaged stages the data and imports it then, if staging has not refused it already.
func (l *attacked) refusesStaged(format string, data []byte, want string) {
	l.T.Helper()
	id := l.queue(format)
	answer := l.user.Call(http.MethodPut, "/v2/images/"+id+"/stage", data, "Content-Type", "application/octet-stream")
	text := string(answer.Body)
	if answer.Code == http.StatusNoContent {
		direct := lab.Object{"method": lab.Object{"name": "glance-direct"}, "stores": []string{"central", "dcn0"}}
		l.user.Call(http.MethodPost, "/v2/images/"+id+"/import", direct).Is(http.StatusAccepted)
		lab.Eventually(l.T, 2*time.Minute, "the import has failed", func() error {
			if text = l.message(id); !strings.HasPrefix(text, "failure: ") {
				return fmt.Errorf("%v; task: %s", l.user.Image(id), text)
			}
			return nil
		})
	} else {
		answer.Is(http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	if !strings.Contains(text, want) || leaks(text) {
		l.T.Errorf("staged: %s; want something with %q", text, want)
	}
	l.remove(id)
}

// converts imports data that is good after all, with the disk that is to come of it.
func (l *attacked) converts(format string, data []byte) string {
	l.T.Helper()
	id := l.queue(format)
	l.fetch(id, l.offer(data), []string{"central"}).Is(http.StatusAccepted)
	l.done(id)
	sum := l.Sum("central", id)
	l.remove(id)
	return sum
}
