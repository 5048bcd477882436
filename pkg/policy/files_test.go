package policy

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// rewrite writes a file whose time differs from all before.
func (c *clock) rewrite(t *testing.T, file, text string) {
	t.Helper()
	c.advance(time.Second)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(file, c.now(), c.now()); err != nil {
		t.Fatal(err)
	}
}

func TestFilesAreMergedInOrder(t *testing.T) {
	c, dir := newClock(), t.TempDir()
	file, parts := filepath.Join(dir, "policy.yaml"), filepath.Join(dir, "policy.d")
	if err := os.Mkdir(parts, 0o700); err != nil {
		t.Fatal(err)
	}
	c.rewrite(t, file, "# comment\n\"get_image\": \"!\"\ndelete_image: '!'\ncopy_image: \"@\"\nadd_image: [['role:a', 'role:b'], ['role:c']]\n")
	c.rewrite(t, filepath.Join(parts, "20-second.json"), `{"get_image": "role:second"}`)
	c.rewrite(t, filepath.Join(parts, "10-first.yaml"), "get_image: role:first\ndelete_image: role:first\n")
	c.rewrite(t, filepath.Join(parts, ".hidden.yaml"), "get_image: role:hidden\n")
	c.rewrite(t, filepath.Join(parts, "notes.txt"), "get_image: role:notes\n")
	e := enforcer(t, Options{File: file, Dir: parts, Now: c.now})
	for rule, roles := range map[string]map[string]bool{
		"get_image":    {"second": true, "first": false, "hidden": false, "notes": false, "admin": false},
		"delete_image": {"first": true, "admin": false},
		"copy_image":   {"nobody": true},
		"add_image":    {"a": false, "c": true},
		"upload_image": {"admin": true, "member": false}, // a default that nobody changed
	} {
		for role, want := range roles {
			if got := e.Allowed(person(role), rule, nil); got != want {
				t.Errorf("%s for %s: %v, want %v", rule, role, got, want)
			}
		}
	}
}

func TestFilesAreReadAgain(t *testing.T) {
	c, log := newClock(), new(bytes.Buffer)
	dir := t.TempDir()
	file := filepath.Join(dir, "policy.yaml")
	c.rewrite(t, file, "get_image: role:one\n")
	e := enforcer(t, Options{File: file, Dir: dir, Now: c.now, Log: hclog.New(&hclog.LoggerOptions{Output: log})})
	expect := func(role string) {
		t.Helper()
		for _, r := range []string{"one", "two", "three"} {
			if got := e.Allowed(person(r), "get_image", nil); got != (r == role) {
				t.Errorf("get_image for %s: %v, but only %s may", r, got, role)
			}
		}
	}
	expect("one")
	if err := os.WriteFile(file, []byte("get_image: role:two   \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect("one") // looked at less than a second ago
	c.advance(time.Second)
	expect("one") // it may still be written to
	c.advance(time.Second)
	expect("two")
	for name, text := range map[string]string{"not YAML": "get_image: [", "a circle": "a: rule:b\nb: rule:a\n", "key twice": "a: '@'\na: '!'\n"} {
		log.Reset()
		c.rewrite(t, file, text)
		for range 3 {
			c.advance(time.Second)
			expect("two")
		}
		if n := strings.Count(log.String(), "stay as they were"); n != 1 {
			t.Errorf("%s: logged %d times: %s", name, n, log)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		c.advance(time.Second)
		expect("two")
	}
	c.rewrite(t, file, "get_image: role:one\n")
	c.rewrite(t, filepath.Join(dir, "zz.yaml"), "get_image: role:three\n") // a new file counts too
	c.advance(time.Second)
	expect("two")
	c.advance(time.Second)
	expect("three")
}

func TestReadingAgainWhileManyAsk(t *testing.T) {
	c := newClock()
	file := filepath.Join(t.TempDir(), "policy.yaml")
	c.rewrite(t, file, "get_image: role:one\n")
	e := enforcer(t, Options{File: file, Now: c.now})
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if e.Allowed(person("one"), "get_image", nil) == e.Allowed(person("none"), "modify_image", nil) {
					t.Error("a decision was made by neither the old nor the new rules")
					return
				}
			}
		})
	}
	for i := range 50 {
		// Renamed into place: this clock is too fast for the second in which a file has to stay as it is.
		c.rewrite(t, file+".new", "get_image: role:one\nmodify_image: '!'\n"+strings.Repeat("#", i))
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
		c.advance(time.Second)
	}
	close(stop)
	wg.Wait()
}

func TestFilesThatStopTheStart(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for name, test := range map[string]struct {
		o    Options
		want string
	}{
		"missing":           {Options{File: filepath.Join(dir, "missing.yaml")}, "missing.yaml"},
		"missing directory": {Options{Dir: filepath.Join(dir, "missing.d")}, "missing.d"},
		"not YAML":          {Options{File: write("a.yaml", "get_image: [")}, "a.yaml"},
		"a list":            {Options{File: write("b.yaml", "- get_image")}, "b.yaml"},
		"key twice":         {Options{File: write("c.yaml", "a: '!'\na: '@'\n")}, "already"},
		"a circle":          {Options{File: write("d.yaml", "a: rule:b\nb: rule:a\n")}, "a -> b -> a"},
		"too large":         {Options{File: write("e.yaml", strings.Repeat("#", maxFile+1))}, "larger"},
	} {
		if _, err := New(test.o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, test.want)
		}
	}
	for name, text := range map[string]string{"empty": "", "comments": "# nothing\n", "JSON": `{"get_image": "!"}`} {
		if _, err := New(Options{File: write("good.yaml", text)}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
