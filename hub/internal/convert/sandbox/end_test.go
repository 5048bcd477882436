package sandbox

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// The end of a run, whatever brings it, leaves nothing that runs.
func TestEnd(t *testing.T) {
	t.Parallel()
	for name, s := range cells(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s.cell.Seccomp = false // children are what is tested here
			t.Run("own", func(t *testing.T) {
				t.Parallel()
				file, gone := held(t)
				r, err := s.Run(t.Context(), []string{"leave=" + stranger(t), "exit"}, []*os.File{file}, plenty())
				if err != nil || r.Code != 3 || !strings.Contains(r.Stderr, "leave: done") {
					t.Errorf("%v %+v", err, r)
				}
				gone()
			})
			t.Run("cancelled", func(t *testing.T) {
				t.Parallel()
				file, gone := held(t)
				ctx, cancel := context.WithCancel(t.Context())
				started := time.AfterFunc(100*time.Millisecond, cancel) // at whatever point of its life
				defer started.Stop()
				r, err := s.Run(ctx, []string{"leave=" + stranger(t), "sleep"}, []*os.File{file}, plenty())
				if err == nil && r.Signal != syscall.SIGKILL {
					t.Errorf("%+v", r)
				}
				gone()
			})
		})
	}
}

// What uses too much of something is stopped.
func TestLimits(t *testing.T) {
	t.Parallel()
	s := strongest(t)
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		if r := run(t, s, Limits{Memory: 1 << 30, CPU: time.Minute}, "memory"); r.OK() || !strings.Contains(r.Stderr, "out of memory") {
			t.Errorf("%+v", r)
		}
	})
	t.Run("processor", func(t *testing.T) {
		t.Parallel()
		if r := run(t, s, Limits{Memory: 4 << 30, CPU: time.Second}, "spin"); r.Signal != syscall.SIGKILL {
			t.Errorf("%+v", r)
		}
	})
	t.Run("output", func(t *testing.T) {
		t.Parallel()
		r := run(t, s, Limits{Memory: 4 << 30, CPU: time.Minute}, "talk")
		if len(r.Stderr) != mostStderr {
			t.Errorf("%d bytes of output", len(r.Stderr))
		}
	})
}

// orphan is what TestOrphan starts this test again with.
const orphan = "ATOLL_TEST_ORPHAN"

// When the hub is killed, what it runs dies with it.
func TestOrphan(t *testing.T) {
	if os.Getenv(orphan) != "" { // the hub that is killed
		_, _ = strongest(t).Run(t.Context(), []string{"sleep"}, []*os.File{os.NewFile(3, "held")}, plenty())
		return
	}
	file, gone := held(t)
	said, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = said.Close() }()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestOrphan$", "-test.v")
	cmd.Env = append(os.Environ(), orphan+"=1", strangerPath+"="+stranger(t))
	cmd.ExtraFiles = []*os.File{file}
	cmd.Stdout = w
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	buf, text := make([]byte, 1000), ""
	for !strings.Contains(text, "sandbox is ready") { // what follows is the run
		n, err := said.Read(buf)
		text += string(buf[:n])
		if err != nil {
			t.Fatalf("it ended: %v, %s", err, text)
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	gone()
}

// A program that is not there, or is none, is an error that tells so.
func TestOpenFails(t *testing.T) {
	t.Parallel()
	log := hclog.NewNullLogger()
	if _, err := Open(t.Context(), "/no/such/program", nil, "", plenty(), log); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	var failed *stepError
	if _, err := Open(t.Context(), "/etc/passwd", nil, "", plenty(), log); !errors.As(err, &failed) || failed.step != stepExec {
		t.Errorf("got %v", err)
	}
	if _, err := Open(t.Context(), stranger(t), []string{"exit"}, "", plenty(), log); err == nil || errors.As(err, &failed) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, stranger(t), nil, "", plenty(), log); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
