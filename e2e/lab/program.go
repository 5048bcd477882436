package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Process is a running program. Its output goes to a log file.
type Process struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{}
}

// start starts a program that is killed when the test ends, and when the test's own process dies.
func start(t *testing.T, log, program string, args ...string) *Process {
	t.Helper()
	return startWith(t, nil, log, program, args...)
}

// startWith is start with more variables in the environment.
func startWith(t *testing.T, env []string, log, program string, args ...string) *Process {
	t.Helper()
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	p := &Process{t: t, cmd: exec.Command(program, args...), done: make(chan struct{})} //nolint:noctx // outlives any context but the test's
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = f, f
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // the state is in cmd.ProcessState
	}()
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			if b, err := os.ReadFile(log); err == nil {
				t.Logf("end of %s:\n%s", log, tail(b, 6000))
			}
		}
	})
	return p
}

func tail(b []byte, n int) []byte {
	if len(b) > n {
		return b[len(b)-n:]
	}
	return b
}

// Kill ends the process at once (kill -9) and waits for its end.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // gone already: fine
	<-p.done
}

// Stop asks the process to end and waits for it; it fails the test when the process does not end well.
func (p *Process) Stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		p.t.Fatal("the process does not stop")
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		p.t.Fatalf("exit code %d", code)
	}
}

// Received returns how many bytes the process has read from files and sockets so far, by the kernel's count.
func (p *Process) Received() int64 {
	p.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	var n int64
	if _, err := fmt.Sscanf(string(b), "rchar: %d", &n); err != nil {
		p.t.Fatal(err)
	}
	return n
}

// Children returns the names of the programs that the process has started and that run now.
func (p *Process) Children() []string {
	p.t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		p.t.Fatal(err)
	}
	var names []string
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		head, rest, _ := strings.Cut(string(b), ") ")
		_, name, _ := strings.Cut(head, "(")
		if f := strings.Fields(rest); len(f) > 1 && f[1] == strconv.Itoa(p.cmd.Process.Pid) {
			names = append(names, name)
		}
	}
	return names
}

// Exited returns a channel that is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.done }

// PeakMemory returns the most memory that the process has held so far, in bytes, by the kernel's count.
func (p *Process) PeakMemory() int64 {
	p.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	var kib int64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		p.t.Fatal(err)
	}
	return kib << 10
}
