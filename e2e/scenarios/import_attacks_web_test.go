package scenarios

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/atoll-dcn/atoll/e2e/lab"
)

// commandsInLocations hides commands where careless servers call a shell.
func commandsInLocations(l *attacked) {
	mark := filepath.Join(l.dir, "mark")
	id := l.queue("raw")
	for _, url := range []string{
		"sheepdog://x;touch " + mark, "rbd://x/images/" + id + "/snap;touch " + mark, "rbd://$(touch " + mark + ")/images/" + id + "/snap",
		"rbd://" + l.Ceph("central", "fsid") + "/images/`touch " + mark + "`/snap", "file://" + l.victim, "|touch " + mark,
	} {
		l.user.Call(http.MethodPost, "/v2/images/"+id+"/locations", lab.Object{"url": url}).Is(http.StatusBadRequest, http.StatusForbidden)
		l.user.Patch(id, lab.Op("add", "/locations/-", lab.Object{"url": url, "metadata": lab.Object{}})).Is(http.StatusBadRequest, http.StatusForbidden)
	}
	l.remove(id)
	for _, path := range []string{"/$(touch%20" + mark + ")", "/;touch%20" + mark, "/`touch%20" + mark + "`", "/-o%20" + mark, "/%0atouch%20" + mark} {
		l.refusesURL("vdi", l.web.URL+path, "404")
	}
	if _, err := os.Stat(mark); err == nil {
		l.T.Error("a command was run")
	}
}

// largeDownloads tell their length, or not.
func largeDownloads(l *attacked) {
	l.refusesURL("raw", l.offer(make([]byte, sizeLimit+1)), "limit")
	url := l.serve(func(w http.ResponseWriter, _ *http.Request) {
		for left := sizeLimit + 1<<20; left > 0; left -= 1 << 20 {
			if _, err := w.Write(bytes.Repeat([]byte("x"), 1<<20)); err != nil {
				return
			}
		}
	})
	l.refusesURL("raw", url, "limit")
}

// dyingHub is killed at several places of an import. The next one carries it on or undoes it.
func dyingHub(l *attacked) {
	noise, _ := lab.Data(24<<20, 24)
	raw := filepath.Join(l.T.TempDir(), "noise")
	l.must(os.WriteFile(raw, noise, 0o600))
	for _, format := range []string{"raw", "qcow2", "vdi"} {
		file := raw + "." + format
		l.run("qemu-img", "convert", "-f", "raw", "-O", format, raw, file)
		data, err := os.ReadFile(file)
		l.must(err)
		g := l.gated(data, len(data)/2)
		id := l.queue(format)
		l.fetch(id, g.url, []string{"central", "dcn0"}).Is(http.StatusAccepted)
		l.half(g)
		l.Hub.Kill()
		g.open()
		l.StartHub()
		for _, s := range lab.Sites {
			l.WaitSite(s, true)
		}
		l.done(id)
		if got, want := l.Sum("dcn0", id), l.sumFile(raw); got != want {
			l.T.Errorf("%s: dcn0 holds %s, want %s", format, got, want)
		}
		l.remove(id)
		// Deleted while the hub is dead for its sites: nothing may come back.
		h := l.gated(data, len(data)/2)
		id = l.queue(format)
		l.fetch(id, h.url, []string{"central", "dcn0"}).Is(http.StatusAccepted)
		l.half(h)
		l.Hub.Kill()
		l.StartHub()
		l.remove(id)
	}
}

// encodedAddresses are all the same address of the inside.
func encodedAddresses(l *attacked) {
	_, port, err := net.SplitHostPort(l.inside)
	l.must(err)
	for _, host := range []string{
		"127.0.0.2", "0x7f000002", "2130706434", "0177.0.0.2", "127.2", "0x7f.2", "[::ffff:127.0.0.2]", "[::ffff:7f00:2]", "[::127.0.0.2]",
		"127.0.0.2.", "user@127.0.0.2", "127.0.0.1@127.0.0.2", "%31%32%37.0.0.2", "①②⑦.0.0.2", "[64:ff9b::7f00:2]",
	} {
		l.refusesURL("raw", "http://"+host+":"+port+"/disk.raw", "")
	}
	for _, url := range []string{"http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/", "http://0/", "http://[::]/", "http:///x", "http://10.0.0.1/"} {
		l.refusesURL("raw", url, "")
	}
}

// redirects lead to the inside in several steps. All imports run together: an address that is refused takes as long as one
// where nobody is.
func redirects(l *attacked) {
	targets := []string{
		"http://" + l.inside + "/disk.raw", "http://169.254.169.254/latest/meta-data/", "http://2130706434/", "//" + l.inside + "/",
		"file://" + l.victim, "ftp://127.0.0.2/", "gopher://" + l.inside + "/_x",
	}
	url := l.serve(func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Query().Get("n"))
		if hops, _ := strconv.Atoi(r.URL.Query().Get("hops")); hops > 0 {
			http.Redirect(w, r, fmt.Sprintf("/disk.qcow2?n=%d&hops=%d", n, hops-1), http.StatusFound)
			return
		}
		w.Header().Set("Location", targets[n])
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	var ids []string
	for n := range targets {
		id := l.queue("raw")
		l.fetch(id, fmt.Sprintf("%s?n=%d&hops=%d", url, n, n%4), []string{"central"}).Is(http.StatusAccepted)
		ids = append(ids, id)
	}
	endlessly := l.queue("raw")
	l.fetch(endlessly, url+"?hops=1000000", []string{"central"}).Is(http.StatusAccepted)
	for _, id := range append(ids, endlessly) {
		l.fails(id, "")
		if text := l.message(id); leaks(text) {
			l.T.Errorf("the message says too much: %s", text)
		}
		l.remove(id)
	}
}

// oldTasks are another way to the same download.
func oldTasks(l *attacked) {
	for _, from := range []string{"http://" + l.inside + "/", "file://" + l.victim, "http://0x7f000002/", "/etc/passwd", "swift://x/y"} {
		body := lab.Object{"type": "import", "input": lab.Object{
			"import_from": from, "import_from_format": "raw", "image_properties": lab.Object{"name": "task", "disk_format": "raw", "container_format": "bare"},
		}}
		answer := l.user.Call(http.MethodPost, "/v2/tasks", body)
		if answer.Code == http.StatusCreated { // found out when it is dialled
			id := answer.JSON().Text("id")
			lab.Eventually(l.T, 2*time.Minute, "the task has failed", func() error {
				if task := l.user.Call(http.MethodGet, "/v2/tasks/"+id, nil).JSON(); task.Text("status") != "failure" {
					return fmt.Errorf("%v", task)
				}
				return nil
			})
		} else {
			answer.Is(http.StatusBadRequest)
		}
	}
	for _, img := range l.user.Call(http.MethodGet, "/v2/images?name=task", nil).JSON().Objects("images") {
		l.remove(img.Text("id"))
	}
}

// portScanner cannot tell a port on which somebody listens from one where nobody does.
func portScanner(l *attacked) {
	targets := []string{"http://" + l.inside + "/", "http://127.0.0.2:1/", "http://127.0.0.1:1/"}
	url := l.serve(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, targets[int(r.URL.Query().Get("n")[0]-'0')], http.StatusFound)
	})
	var ids []string
	began := time.Now()
	for n := range targets {
		id := l.queue("raw")
		l.fetch(id, fmt.Sprintf("%s?n=%d", url, n), []string{"central"}).Is(http.StatusAccepted)
		ids = append(ids, id)
	}
	// When each was seen to run for the last time, and to have failed for the first time.
	texts, ran, took := map[string]bool{}, map[string]time.Duration{}, map[string]time.Duration{}
	lab.Eventually(l.T, 2*time.Minute, "all have failed", func() error {
		for _, id := range ids {
			asked := time.Since(began)
			if text := l.message(id); !strings.HasPrefix(text, "failure: ") {
				ran[id] = asked
			} else if took[id] == 0 {
				texts[text], took[id] = true, time.Since(began)
			}
		}
		if len(took) < len(ids) {
			return fmt.Errorf("%d of %d", len(took), len(ids))
		}
		return nil
	})
	for _, id := range ids {
		l.fails(id, "")
		l.remove(id)
	}
	if len(texts) != 1 {
		l.T.Errorf("the messages differ: %v", texts)
	}
	first, last := slices.Min(slices.Collect(maps.Values(took))), slices.Max(append(slices.Collect(maps.Values(ran)), 0))
	if last-first > 8*time.Second {
		l.T.Errorf("one ran for %s at least, another for %s at most", last, first)
	}
}

// fileURLs are no URLs here.
func fileURLs(l *attacked) {
	for _, url := range []string{
		"file://" + l.victim, "file://localhost" + l.victim, "FILE:///etc/passwd", "filesystem://" + l.victim, l.victim, "ftp://127.0.0.1/x",
		"gopher://127.0.0.2/", "rbd://x/y/z/snap", "jar:file:///x!/y", "data:,x", "http+unix://x/", "\\\\host\\share",
	} {
		id := l.queue("raw")
		l.fetch(id, url, []string{"central"}).Is(http.StatusBadRequest)
		l.remove(id)
	}
}

// slowBodies keep the imports of others waiting for nothing.
func slowBodies(l *attacked) {
	url := l.serve(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "16777216")
		for r.Context().Err() == nil {
			if _, err := w.Write([]byte("x")); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
			time.Sleep(200 * time.Millisecond) // a slow server
		}
	})
	var ids []string
	for range 3 {
		id := l.queue("raw")
		l.fetch(id, url, []string{"central"}).Is(http.StatusAccepted)
		ids = append(ids, id)
	}
	began := time.Now()
	l.converts("qcow2", l.made("qcow2"))
	if took := time.Since(began); took > 2*time.Minute { // a source that is so slow is given up after five
		l.T.Errorf("an import beside slow ones took %s", took)
	}
	for _, id := range ids {
		l.remove(id)
	}
}

// endlessBodies stop at the limit.
func endlessBodies(l *attacked) {
	var sent atomic.Int64
	url := l.serve(func(w http.ResponseWriter, _ *http.Request) {
		for {
			n, err := w.Write(bytes.Repeat([]byte("endless\n"), 1<<15))
			if sent.Add(int64(n)); err != nil {
				return
			}
		}
	})
	l.refusesURL("raw", url, "limit")
	if sent.Load() > 2*sizeLimit {
		l.T.Errorf("%d bytes were read", sent.Load())
	}
	var head bytes.Buffer
	head.Write(l.made("qcow2"))
	l.refusesURL("qcow2", l.serve(func(w http.ResponseWriter, _ *http.Request) {
		_, err := w.Write(head.Bytes())
		for err == nil {
			_, err = w.Write(make([]byte, 1<<20))
		}
	}), "")
}
