package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// FirstFile is the number that the first file has that Run gives the program.
const FirstFile = statusFD + 1

// self is this program, whatever has become of its file and its directories.
const self = "/proc/self/exe"

const (
	mostStderr = 4 << 10 // kept
	mostTalk   = 1 << 20 // taken before the program is cut off
	mostStatus = 1 << 10
	// afterlife is how long the end of a killed process may take before Run gives up waiting for its output.
	afterlife = 10 * time.Second
)

// Result is how a run ended.
type Result struct {
	State  string         // for logs
	Code   int            // exit code, -1 when a signal ended it
	Signal syscall.Signal // that signal, or 0
	CPU    time.Duration  // processor time it took
	Stderr string         // the beginning of what it said; for logs only
}

// OK reports whether the program succeeded.
func (r Result) OK() bool { return r.Code == 0 }

// stepError is a start that failed.
type stepError struct {
	step string
	err  error
}

func (e *stepError) Error() string { return "sandbox: " + e.step + ": " + e.err.Error() }
func (e *stepError) Unwrap() error { return e.err }

// Run runs the program with arguments and files, which it has under the numbers from FirstFile on; they stay the caller's. Its
// input and output are /dev/null. Run blocks until the program and all that it started is gone; the end of ctx kills them, and so
// does the death of this process. An error means that it was never started.
func (s *Sandbox) Run(ctx context.Context, args []string, files []*os.File, limits Limits) (Result, error) {
	c := s.cell
	c.Args = append([]string{filepath.Base(c.Program)}, args...)
	c.Memory, c.CPU, c.Files = uint64(limits.Memory), uint64(max(1, (limits.CPU+time.Second-1)/time.Second)), mostFiles
	if c.User { // elsewhere other processes of the user count too
		c.Processes = mostThreads
	}
	message, err := json.Marshal(c)
	if err != nil {
		return Result{}, err
	}
	status, theirs, err := os.Pipe()
	if err != nil {
		return Result{}, err
	}
	defer func() { _ = status.Close() }()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	said := &limited{}
	cmd := exec.CommandContext(ctx, self) //nolint:gosec // this program
	cmd.Args = []string{marker, string(message)}
	cmd.Env = []string{"GOMAXPROCS=1", "GOGC=off", "GODEBUG=asyncpreemptoff=1"} // see enter
	cmd.Dir = "/"
	cmd.Stderr = said
	cmd.ExtraFiles = append([]*os.File{theirs}, files...)
	cmd.SysProcAttr = c.attributes()
	group := &group{}
	cmd.Cancel = func() error { return group.kill(cmd.Process.Pid) }
	cmd.WaitDelay = afterlife

	// The kernel takes the death of the thread that started a process for that of its parent.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err = cmd.Start()
	_ = theirs.Close()
	if err != nil {
		return Result{}, &stepError{stepStart, err}
	}
	preferVictim(cmd.Process.Pid)
	failed, rerr := io.ReadAll(io.LimitReader(status, mostStatus)) // ends when the program starts, or the process ends
	if rerr != nil || len(failed) > 0 {
		cancel()
	}
	await(cmd.Process.Pid)
	group.end(cmd.Process.Pid)
	werr := cmd.Wait()
	if rerr != nil {
		return Result{}, &stepError{stepStart, rerr}
	}
	if step, text, ok := bytes.Cut(failed, []byte(": ")); ok {
		return Result{}, &stepError{string(step), errors.New(string(text))}
	}
	if cmd.ProcessState == nil {
		return Result{}, &stepError{stepStart, werr}
	}
	return result(cmd.ProcessState, said.String()), nil
}

// attributes are those with which the process starts.
func (c cell) attributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if c.Spaces {
		attr.Cloneflags = syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS
	}
	if !c.User {
		return attr
	}
	attr.Cloneflags |= syscall.CLONE_NEWUSER
	uid, gid := os.Geteuid(), os.Getegid()
	attr.Credential = &syscall.Credential{NoSetGroups: true}
	if c.Identity {
		uid, gid = c.UID, c.GID
		attr.Credential.NoSetGroups, attr.GidMappingsEnableSetgroups = false, true
	}
	attr.UidMappings = []syscall.SysProcIDMap{{HostID: uid, Size: 1}} // root inside, who loses all that this means
	attr.GidMappings = []syscall.SysProcIDMap{{HostID: gid, Size: 1}}
	return attr
}

// preferVictim lets the kernel kill the process rather than the hub when the machine has no memory left. It may not work.
func preferVictim(pid int) {
	_ = os.WriteFile(filepath.Join("/proc", strconv.Itoa(pid), "oom_score_adj"), []byte("1000"), 0) //nolint:gosec // it exists
}

// group is that of a process that may have started others.
type group struct {
	mu    sync.Mutex
	ended bool
}

// kill kills the group, unless its number may be another's by now.
func (g *group) kill(pid int) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return os.ErrProcessDone
	}
	return syscall.Kill(-pid, syscall.SIGKILL)
}

// end kills what is left of the group of a process that has ended and was not waited for.
func (g *group) end(pid int) {
	_ = g.kill(pid) // nobody may be left
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = true
}

// await blocks until a child has ended, and leaves it for others to be waited for.
func await(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

func result(state *os.ProcessState, stderr string) Result {
	r := Result{State: state.String(), Code: state.ExitCode(), CPU: state.UserTime() + state.SystemTime(), Stderr: stderr}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() { //nolint:misspell // the name it has
		r.Signal = status.Signal()
	}
	return r
}

// limited keeps the beginning of a text, and ends who talks for ever.
type limited struct {
	mu   sync.Mutex
	text []byte
	all  int
}

// Write implements io.Writer.
func (l *limited) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p[:min(len(p), mostStderr-len(l.text))]...)
	if l.all += len(p); l.all > mostTalk {
		return 0, fmt.Errorf("more than %d bytes of output", mostTalk)
	}
	return len(p), nil
}

// String returns what was kept.
func (l *limited) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}
