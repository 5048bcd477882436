package scenarios

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/e2e/lab"
)

// importLab is a lab for imports, without users: whoever asks may do everything.
type importLab struct {
	*lab.Lab
	user *lab.Actor
	dir  string // where the tests make files
}

// newImportLab starts one whose staging area forgets at once what nobody needs.
func newImportLab(t *testing.T, hubFlags ...string) *importLab {
	t.Helper()
	l := lab.New(t, append([]string{"--staging-retention", "0s", "--retry-max", "2s", "--retry-initial", "1s"}, hubFlags...)...)
	return &importLab{Lab: l, user: l.Anyone(), dir: t.TempDir()}
}

func (l *importLab) in(t *testing.T) *importLab {
	return &importLab{Lab: l.In(t), user: l.user.In(t), dir: l.dir}
}

func (l *importLab) must(err error) {
	l.T.Helper()
	if err != nil {
		l.T.Fatal(err)
	}
}

// run runs a program that has to succeed.
func (l *importLab) run(program string, args ...string) {
	l.T.Helper()
	if out, err := exec.CommandContext(l.T.Context(), program, args...).CombinedOutput(); err != nil {
		l.T.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
}

// holdings says what is in every pool, in the hub's staging area and in its directory of temporary files, and which programs
// it runs.
func (l *importLab) holdings() ([]string, error) {
	var all []string
	for _, s := range lab.Sites {
		for _, name := range l.Images(s) {
			all = append(all, s+": "+name)
		}
	}
	for _, dir := range []string{filepath.Join(l.Dir, "hub", "staging"), l.Scratch()} {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err == nil {
				all = append(all, path)
			}
			return err
		})
		if err != nil {
			return nil, err // something went while it was looked at
		}
	}
	return append(all, l.Hub.Children()...), nil
}

// nothingLeft returns a function that fails the test unless, after some seconds at most, the pools and the hub hold again
// what they hold now. Tests call it first and defer what it returns.
func (l *importLab) nothingLeft() func() {
	l.T.Helper()
	before, err := l.holdings()
	l.must(err)
	return func() {
		l.T.Helper()
		lab.Eventually(l.T, waitShort, "nothing is left", func() error {
			now, err := l.holdings()
			if err != nil {
				return err
			}
			if slices.Equal(before, now) {
				return nil
			}
			added := slices.DeleteFunc(slices.Clone(now), func(s string) bool { return slices.Contains(before, s) })
			gone := slices.DeleteFunc(slices.Clone(before), func(s string) bool { return slices.Contains(now, s) })
			return fmt.Errorf("new: %v, gone: %v", added, gone)
		})
	}
}

// queue makes an image without data.
func (l *importLab) queue(diskFormat string, more ...lab.Object) string {
	l.T.Helper()
	body := lab.Object{"name": l.T.Name()[strings.LastIndex(l.T.Name(), "/")+1:], "disk_format": diskFormat, "container_format": "bare"}
	for _, m := range more {
		maps.Copy(body, m)
	}
	return l.user.Call(http.MethodPost, "/v2/images", body).Is(http.StatusCreated).JSON().Text("id")
}

// fetch begins a web-download and returns the answer; more is added to the method.
func (l *importLab) fetch(id, url string, stores []string, more ...lab.Object) *lab.Answer {
	l.T.Helper()
	method := lab.Object{"name": "web-download", "uri": url}
	for _, m := range more {
		maps.Copy(method, m)
	}
	return l.user.Call(http.MethodPost, "/v2/images/"+id+"/import", lab.Object{"method": method, "stores": stores})
}

// done waits until an image is active and nothing is under way any more.
func (l *importLab) done(id string) lab.Object {
	l.T.Helper()
	return l.awaits(id, "the image is active and all its stores are filled", func(img lab.Object) bool {
		return img.Text("status") == "active" && len(img.List("os_glance_importing_to_stores")) == 0
	})
}

// awaits waits until ok says that an image is as it should be. An import that has failed ends the wait with its reason.
func (l *importLab) awaits(id, what string, ok func(lab.Object) bool) lab.Object {
	l.T.Helper()
	var img lab.Object
	lab.Eventually(l.T, 3*time.Minute, what, func() error {
		if img = l.user.Image(id); ok(img) {
			return nil
		}
		if img.Text("os_glance_failed_import") != "" {
			l.T.Fatalf("%s: %v; task: %s", what, img, l.message(id))
		}
		return fmt.Errorf("image: %v", img)
	})
	return img
}

// message returns what the newest task of an image says.
func (l *importLab) message(id string) string {
	l.T.Helper()
	tasks := l.user.Call(http.MethodGet, "/v2/images/"+id+"/tasks", nil).Is(http.StatusOK).JSON().Objects("tasks")
	if len(tasks) == 0 {
		return ""
	}
	newest := slices.MaxFunc(tasks, func(a, b lab.Object) int { return strings.Compare(a.Text("created_at"), b.Text("created_at")) })
	return newest.Text("status") + ": " + newest.Text("message")
}

// fails waits until the import into an image has failed with a message that contains want, and the image can be imported
// again.
func (l *importLab) fails(id, want string) {
	l.T.Helper()
	lab.Eventually(l.T, 2*time.Minute, "the import has failed", func() error {
		img := l.user.Image(id)
		if message := l.message(id); img.Text("status") != "queued" || !strings.HasPrefix(message, "failure: ") {
			return fmt.Errorf("image: %v; task: %s", img, message)
		}
		return nil
	})
	if message := l.message(id); !strings.Contains(message, want) {
		l.T.Errorf("the task says %q, want something with %q", message, want)
	}
	for _, name := range []string{"size", "virtual_size", "checksum", "os_hash_value"} {
		if v := l.user.Image(id)[name]; v != nil {
			l.T.Errorf("%s of an image without data: %v", name, v)
		}
	}
}

// remove deletes an image and waits until no pool has anything of it.
func (l *importLab) remove(id string) {
	l.T.Helper()
	l.user.Call(http.MethodDelete, "/v2/images/"+id, nil).Is(http.StatusNoContent)
	lab.Eventually(l.T, waitShort, "the image is gone everywhere", func() error {
		for _, s := range lab.Sites {
			if l.Holds(s, id) {
				return fmt.Errorf("still at %s", s)
			}
		}
		return nil
	})
}

// disk writes a raw disk: stretches of noise, of text and of nothing, of all lengths and at all places. The same size and
// seed give the same disk.
func (l *importLab) disk(size int64, seed byte) string {
	l.T.Helper()
	path := filepath.Join(l.dir, fmt.Sprintf("disk-%d-%d.raw", size, seed))
	f, err := os.Create(path)
	l.must(err)
	l.must(f.Truncate(size))
	noise := rand.NewChaCha8([32]byte{seed})
	r := rand.New(noise)
	buf := make([]byte, 1<<20)
	for at := int64(0); at < size; {
		n := min(int64(1)<<(9+r.IntN(12)), size-at, int64(len(buf)))
		switch piece := buf[:n]; r.IntN(4) {
		case 0:
			_, _ = noise.Read(piece) // never fails
			_, err = f.WriteAt(piece, at)
		case 1:
			line := fmt.Sprintf("line %d of a file that compresses well\n", at)
			copy(piece, strings.Repeat(line, int(n)/len(line)+1))
			_, err = f.WriteAt(piece, at)
		}
		l.must(err)
		at += n
	}
	l.must(f.Close())
	return path
}

// sumFile returns the SHA-256 of a file.
func (l *importLab) sumFile(path string) string {
	l.T.Helper()
	f, err := os.Open(path)
	l.must(err)
	defer func() { _ = f.Close() }()
	h := sha256.New()
	_, err = io.Copy(h, f)
	l.must(err)
	return hex.EncodeToString(h.Sum(nil))
}

// serveDir serves the files that the tests make, as ordinary web servers do.
func (l *importLab) serveDir() *httptest.Server {
	web := httptest.NewServer(http.FileServer(http.Dir(l.dir)))
	l.T.Cleanup(web.Close)
	return web
}
