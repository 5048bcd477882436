package ctl

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/atoll-dcn/atoll/pkg/client/clienttest"
)

// TestBinary builds the program without cgo and runs it as a user does.
func TestBinary(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	program := filepath.Join(t.TempDir(), "atollctl")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "github.com/atoll-dcn/atoll/hub/cmd/atollctl")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	h := furnish(t)
	start := func(args ...string) (*exec.Cmd, *buffer) {
		cmd := exec.CommandContext(t.Context(), program, args...)
		out := &buffer{}
		cmd.Stdout, cmd.Stderr = out, out
		cmd.Env = append(os.Environ(), "ATOLL_HUB="+h.Addr)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd, out
	}
	code := func(cmd *exec.Cmd) int {
		var exit *exec.ExitError
		if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode()
	}
	cmd, out := start("image", "list")
	if code(cmd) != exitOK || !strings.Contains(out.String(), "debian-12") {
		t.Errorf("image list: %s", out)
	}
	cmd, out = start("image", "show", "nothing")
	if code(cmd) != exitNotFound || !strings.HasPrefix(out.String(), "atollctl: ") {
		t.Errorf("image show nothing: %s", out)
	}
	h.Script(clienttest.Step{Gate: make(chan struct{}), Do: clienttest.Succeed})
	cmd, out = start("image", "copy", "debian-12", "--stores", "dcn0")
	h.Await(t, "the watch", func() bool { return h.Called["WatchOperation"] > 0 })
	if err := cmd.Process.Signal(unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	if got := code(cmd); got != exitInterrupted || !strings.Contains(out.String(), "goes on") {
		t.Errorf("interrupted: exit code %d: %s", got, out)
	}
}
