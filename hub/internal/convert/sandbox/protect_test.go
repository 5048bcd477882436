package sandbox

import (
	"cmp"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// landlock returns the version of the kernel's interface: not every one forbids the same.
func landlock() int {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(version)
}

// cells returns the best one for the stranger and weaker ones, by name. Only what works here is among them.
func cells(t *testing.T) map[string]*Sandbox {
	t.Helper()
	best := strongest(t).cell
	all := map[string]func(*cell){
		"all":             func(*cell) {},
		"no root":         func(c *cell) { c.View = false },
		"no landlock":     func(c *cell) { c.Landlock = false },
		"no seccomp":      func(c *cell) { c.Seccomp = false },
		"no user space":   func(c *cell) { c.User = false },
		"no spaces":       func(c *cell) { c.User, c.Spaces, c.View = false, false, false },
		"no identity":     func(c *cell) { c.User, c.Spaces, c.View, c.Identity = false, false, false, false },
		"only spaces":     func(c *cell) { c.Landlock, c.Seccomp = false, false },
		"only a user":     func(c *cell) { c.User, c.Spaces, c.View, c.Landlock, c.Seccomp = false, false, false, false, false },
		"hardly anything": func(c *cell) { *c = cell{Program: c.Program} },
	}
	working := map[string]*Sandbox{}
	for name, change := range all {
		s := &Sandbox{cell: best}
		change(&s.cell)
		if _, err := s.probe(t.Context(), []string{"--version"}, plenty()); err != nil {
			t.Logf("%q does not work here: %v", name, err)
			continue
		}
		working[name] = s
	}
	if len(working) == 0 {
		t.Fatal("nothing works here")
	}
	return working
}

// outcome returns what the stranger said about one of the things it tried.
func outcome(t *testing.T, r Result, what string) (done bool) {
	t.Helper()
	for line := range strings.SplitSeq(r.Stderr, "\n") {
		if rest, ok := strings.CutPrefix(line, what+": "); ok {
			return rest == "done"
		}
	}
	t.Errorf("%s: no word of it in %q, %s", what, r.Stderr, r.State)
	return true
}

// Every protection does what it is there for, alone and with the others.
func TestProtections(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secret, open := filepath.Join(dir, "secret"), filepath.Join(dir, "open")
	for path, mode := range map[string]os.FileMode{secret: 0o600, open: 0o666} {
		if err := os.WriteFile(path, []byte("key"), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	for at := dir; at != os.TempDir() && at != "/"; at = filepath.Dir(at) { // so that only the file's mode protects it
		if err := os.Chmod(at, 0o755); err != nil { //nolint:gosec // see above
			t.Fatal(err)
		}
	}
	var lc net.ListenConfig
	tcp, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tcp.Close() })
	abstract := "@atoll-test-" + strconv.Itoa(os.Getpid())
	socket, err := lc.Listen(t.Context(), "unix", abstract)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	args := []string{
		"read=" + secret, "write=" + open, "create=" + filepath.Join(dir, "new"), "tcp=" + tcp.Addr().String(), "unix=" + abstract,
		"fork=" + stranger(t), "signal=" + strconv.Itoa(os.Getpid()), "prlimit=" + strconv.Itoa(os.Getpid()),
		"owner=" + strconv.Itoa(os.Getpid()), "itself", "files", "uid",
	}
	for name, s := range cells(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := run(t, s, plenty(), args...)
			c := s.cell
			other := c.Identity || os.Geteuid() != 0 // not root inside, or nobody to become
			for what, refused := range map[string]bool{
				"read":   c.hidesFiles(),
				"write":  true, // that no file may grow is enough
				"create": c.View || c.Landlock || c.Identity,
				"tcp":    c.hidesNetwork() || c.Landlock && landlock() >= 4,
				"unix":   c.hidesNetwork() || c.Landlock && landlock() >= 6,
				"fork":   c.Seccomp,
				"signal": c.Spaces || c.Identity || c.Seccomp || c.Landlock && landlock() >= 6,
				// The numbers of other processes mean nothing in a process namespace.
				"prlimit": c.Spaces || c.Identity || c.Seccomp,
				"owner":   c.Spaces || c.Seccomp,
				"itself":  false,
				"files":   true,
			} {
				if done := outcome(t, r, what); done && refused {
					t.Errorf("%s is not refused\n%s", what, r.Stderr)
				} else if !done && !refused {
					t.Errorf("%s is refused, so this test shows nothing\n%s", what, r.Stderr)
				}
			}
			if other && !c.User && outcome(t, r, "uid") {
				t.Error("it became root")
			}
		})
	}
}

// With a root directory of its own, there is nothing but programs and libraries.
func TestView(t *testing.T) {
	t.Parallel()
	s := strongest(t)
	if !s.cell.View {
		t.Skip("no root directory of its own here")
	}
	s.cell.Landlock, s.cell.Seccomp = false, false
	for _, path := range []string{"/proc", "/etc/passwd", "/etc", "/home", "/root", "/var", "/dev", "/sys", "/run"} {
		r := run(t, s, plenty(), "list="+path)
		if path == "/etc" { // has the cache of libraries
			r = run(t, s, plenty(), "read=/etc/hostname")
			if outcome(t, r, "read") {
				t.Error("it has /etc/hostname")
			}
			continue
		}
		if outcome(t, r, "list") {
			t.Errorf("it has %s", path)
		}
	}
	if r := run(t, s, plenty(), "list=/usr"); !outcome(t, r, "list") {
		t.Error("it has no /usr")
	}
	if r := run(t, s, plenty(), "create=/usr/lib/new", "create=/new"); strings.Contains(r.Stderr, "create: done") {
		t.Error("it can write")
	}
}

// Nothing of the hub's environment, rights and limits is left.
func TestRights(t *testing.T) {
	t.Parallel()
	for name, s := range cells(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := run(t, s, Limits{Memory: 3 << 30, CPU: 41 * time.Second}, "environment",
				"limit="+strconv.Itoa(syscall.RLIMIT_AS), "limit="+strconv.Itoa(syscall.RLIMIT_CPU), "limit="+strconv.Itoa(syscall.RLIMIT_CORE),
				"limit="+strconv.Itoa(syscall.RLIMIT_FSIZE))
			for _, want := range []string{
				"[LANG=C MALLOC_ARENA_MAX=2]", "limit 9: 3221225472 3221225472", "limit 0: 41 41", "limit 4: 0 0", "limit 1: 0 0",
			} {
				if !strings.Contains(r.Stderr, want) {
					t.Errorf("no %s in %q", want, r.Stderr)
				}
			}
			if s.cell.View || s.cell.Landlock {
				return // it cannot look at itself
			}
			r = run(t, s, plenty(), "rights")
			for _, want := range []string{"CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1"} {
				if !strings.Contains(r.Stderr, want) {
					t.Errorf("no %s in %q", want, r.Stderr)
				}
			}
		})
	}
}

// A hub that is not root has a sandbox too.
func TestUnprivileged(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("the other tests show it")
	}
	program := stranger(t)
	dir, err := os.MkdirTemp("", "unprivileged")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^(TestProtections|TestView|TestRights|TestEnd|TestLimits)$", "-test.v")
	cmd.Env = []string{strangerPath + "=" + program, "TMPDIR=" + dir, "PATH=" + os.Getenv("PATH")}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// Open leaves out what does not work, step by step, and never what every program can have.
func TestWeaker(t *testing.T) {
	t.Parallel()
	all := cell{Spaces: true, User: true, View: true, Identity: true, Landlock: true, Seccomp: true}
	for _, test := range []struct {
		name  string
		from  cell
		steps []string
		lacks string
		ends  bool
	}{
		{"root without user namespaces", all, []string{stepStart}, "user namespace", false},
		{"root without namespaces", all, []string{stepStart, stepStart}, "namespaces, user namespace, own root directory", false},
		{
			"user without user namespaces",
			cell{Spaces: true, User: true, View: true, Landlock: true, Seccomp: true},
			[]string{stepStart},
			"namespaces, user namespace, own root directory, other user",
			false,
		},
		{"no mounts", all, []string{stepView}, "own root directory", false},
		{"old kernel", all, []string{stepLandlock, stepSeccomp}, "landlock, seccomp", false},
		{"root without rights", all, []string{stepStart, stepStart, stepIdentity}, "namespaces, user namespace, own root directory, other user", false},
		{"program elsewhere", all, []string{stepRun, stepRun, stepRun}, "own root directory, landlock, seccomp", false},
		{"no program", all, []string{stepExec, stepExec, stepExec, stepExec}, "own root directory, landlock, seccomp", true},
		{"no limits", all, []string{stepLimits}, "", true},
		{"nothing starts", cell{}, []string{stepStart}, "namespaces, user namespace, own root directory, other user, landlock, seccomp", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c, ok := test.from, true
			for _, step := range test.steps {
				if !ok {
					t.Fatal("it ends too early")
				}
				c, ok = c.weaker(step)
			}
			if _, lacks := c.protections(); lacks != test.lacks || ok == test.ends {
				t.Errorf("lacks %q, goes on: %t", lacks, ok)
			}
		})
	}
}

func TestLookup(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{"": true, "1000:1001": true, "0:0": false, "0:5": false, "5:0": false, "root": false, "x:y": false, "no such user": false} {
		uid, gid, err := lookup(name)
		if (err == nil) != ok || ok && cmp.Compare(min(uid, gid), 0) <= 0 {
			t.Errorf("%q: %d %d %v", name, uid, gid, err)
		}
	}
}
