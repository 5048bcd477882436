package lab

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is a running program. Its output goes to a log file.
type Process struct {
	t       *testing.T
	program string
	args    []string
	env     []string // variables besides those of the test
	log     string
	again   int           // how often it is started again when it crashes
	done    chan struct{} // closed when it has ended for good

	mu    sync.Mutex
	cmd   *exec.Cmd // the one that runs now, or ran last
	ended bool      // the lab has ended it
}

// start starts a program that is killed when the test ends.
func start(t *testing.T, log, program string, args ...string) *Process {
	t.Helper()
	return startWith(t, nil, log, program, args...)
}

// startWith is start with more variables in the environment.
func startWith(t *testing.T, env []string, log, program string, args ...string) *Process {
	t.Helper()
	p := &Process{t: t, program: program, args: args, env: env, log: log, done: make(chan struct{})}
	p.begin()
	return p
}

// startKept is start for a program that is started again when it crashes, as a service manager does. A test in which that
// happens more than twice fails.
func startKept(t *testing.T, log, program string, args ...string) *Process {
	t.Helper()
	p := &Process{t: t, program: program, args: args, log: log, again: 2, done: make(chan struct{})}
	p.begin()
	return p
}

func (p *Process) begin() {
	p.t.Helper()
	if err := p.launch(); err != nil {
		p.t.Fatal(err)
	}
	go p.keep()
	p.t.Cleanup(func() {
		p.Kill()
		if p.t.Failed() {
			if b, err := os.ReadFile(p.log); err == nil {
				p.t.Logf("end of %s:\n%s", p.log, tail(b, 6000))
			}
		}
	})
}

// launch starts the program once, unless the lab has ended it.
func (p *Process) launch() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return os.ErrProcessDone
	}
	f, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	cmd := exec.Command(p.program, p.args...) //nolint:noctx // outlives any context but the test's
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.cmd = cmd
	return nil
}

// keep waits for the end of the program and starts it again if it has crashed.
func (p *Process) keep() {
	defer close(p.done)
	for p.wait() && p.again > 0 {
		p.again--
		time.Sleep(time.Second)
		if p.launch() != nil {
			return
		}
	}
}

// wait waits for the program that runs now and reports whether it crashed.
func (p *Process) wait() (crashed bool) {
	_ = p.cmd.Wait() // the state is in cmd.ProcessState
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended || !crash(p.cmd.ProcessState, p.log) {
		return false
	}
	name := filepath.Base(p.program)
	if p.again > 0 {
		p.t.Logf("%s has crashed (%s) and is started again", name, p.cmd.ProcessState)
	} else {
		p.t.Errorf("%s has crashed (%s)", name, p.cmd.ProcessState)
	}
	return true
}

// crash says whether a program has ended as one does that its libraries abort, or that has given up on calls into them
// that hang: what only a new process mends.
func crash(state *os.ProcessState, log string) bool {
	if status, ok := state.Sys().(syscall.WaitStatus); ok {
		switch status.Signal() {
		case syscall.SIGABRT, syscall.SIGSEGV:
			return true
		}
	}
	b, _ := os.ReadFile(log) // missing: it has said nothing
	return state.ExitCode() == 1 && bytes.Contains(tail(b, 1000), []byte("STORE_HANGS"))
}

func tail(b []byte, n int) []byte {
	if len(b) > n {
		return b[len(b)-n:]
	}
	return b
}

// current returns the program that runs now, or ran last.
func (p *Process) current() *exec.Cmd {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd
}

// end sends a signal to the process, which is not started again then.
func (p *Process) end(signal os.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	return p.cmd.Process.Signal(signal)
}

// Kill ends the process at once (kill -9) and waits for its end.
func (p *Process) Kill() {
	_ = p.end(syscall.SIGKILL) // gone already: fine
	<-p.done
}

// Stop asks the process to end and waits for it; it fails the test when the process does not end well.
func (p *Process) Stop() {
	p.t.Helper()
	if err := p.end(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-p.done:
	case <-time.After(time.Minute):
		p.t.Fatalf("%s does not stop", filepath.Base(p.program))
	}
	if code := p.current().ProcessState.ExitCode(); code != 0 {
		p.t.Fatalf("%s: exit code %d", filepath.Base(p.program), code)
	}
}

// Received returns how many bytes the process has read from files and sockets so far, by the kernel's count.
func (p *Process) Received() int64 {
	p.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", p.current().Process.Pid))
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
		if f := strings.Fields(rest); len(f) > 1 && f[1] == strconv.Itoa(p.current().Process.Pid) {
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
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.current().Process.Pid))
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
