package sandbox

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
)

// strangerPath is where a test that starts this test again has put the program.
const strangerPath = "ATOLL_TEST_STRANGER"

func TestMain(m *testing.M) {
	if code, mine := Main(); mine {
		os.Exit(code) //nolint:forbidigo // the main of the process in the sandbox
	}
	if os.Getenv(strangerPath) == "" { // else this process is killed, and could not remove it
		dir, err := os.MkdirTemp("", "stranger")
		if err != nil {
			panic(err)
		}
		home = dir
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(home)
		os.Exit(code) //nolint:forbidigo // the main of the tests
	}))
}

var (
	home     string
	building sync.Mutex
)

// stranger returns the path of the program that does what it should not.
func stranger(t *testing.T) string {
	t.Helper()
	if path := os.Getenv(strangerPath); path != "" {
		return path
	}
	building.Lock()
	defer building.Unlock()
	path := filepath.Join(home, "stranger")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, "./testdata/stranger")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	if err := os.Chmod(home, 0o755); err != nil { //nolint:gosec // another user runs it
		t.Fatal(err)
	}
	return path
}

// plenty are limits that no test reaches.
func plenty() Limits { return Limits{Memory: 4 << 30, CPU: 10 * time.Minute} }

// strongest returns the best sandbox for the stranger that works here.
func strongest(t *testing.T) *Sandbox {
	t.Helper()
	s, err := Open(t.Context(), stranger(t), []string{"--version"}, "", plenty(), hclog.New(&hclog.LoggerOptions{Output: t.Output(), Level: hclog.Debug}))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run runs the stranger to its end.
func run(t *testing.T, s *Sandbox, limits Limits, args ...string) Result {
	t.Helper()
	r, err := s.Run(t.Context(), args, nil, limits)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// held returns a file for a sandbox and a function that waits until nobody has it any more.
func held(t *testing.T) (file *os.File, gone func()) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	return w, func() {
		t.Helper()
		_ = w.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if deadline, ok := ctx.Deadline(); ok {
			_ = r.SetReadDeadline(deadline)
		}
		if _, err := r.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
			t.Errorf("somebody still has the file: %v", err)
		}
	}
}
