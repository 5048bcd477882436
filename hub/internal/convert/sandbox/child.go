package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// marker is the name under which the hub starts itself to become a confined program.
const marker = "atoll-sandbox"

// statusFD is where the child reports a step that failed. The program never sees it.
const statusFD = 3

// The steps in which a start can fail.
const (
	stepStart    = "start"
	stepView     = "view"
	stepIdentity = "identity"
	stepLandlock = "landlock"
	stepSeccomp  = "seccomp"
	stepLimits   = "limits"
	stepExec     = "exec"
	stepRun      = "run" // it started, and failed then
)

// Main must be the first that a process does. When it is one of the sandbox's, Main confines it and becomes the program; it
// returns only when that fails, with the exit code and true. Otherwise it returns false at once.
func Main() (code int, mine bool) {
	if len(os.Args) != 2 || os.Args[0] != marker {
		return 0, false
	}
	runtime.LockOSThread() // rights belong to a thread, and the one that runs the program counts
	unix.CloseOnExec(statusFD)
	var c cell
	step, err := stepStart, json.Unmarshal([]byte(os.Args[1]), &c)
	if err == nil {
		step, err = c.become()
	}
	fmt.Fprintf(os.NewFile(statusFD, "status"), "%s: %v", step, err)
	return 1, true
}

// become takes the rights away and runs the program. The order matters: mounting needs rights that the later steps end, and
// under the limit of memory, which comes with the program, this process would not live.
func (c cell) become() (step string, err error) {
	argv0, err := syscall.BytePtrFromString(c.Program)
	if err != nil {
		return stepExec, err
	}
	argv, err := syscall.SlicePtrFromStrings(c.Args)
	if err != nil {
		return stepExec, err
	}
	env, err := syscall.SlicePtrFromStrings([]string{"LANG=C", "MALLOC_ARENA_MAX=2"})
	if err != nil {
		return stepExec, err
	}
	if c.View {
		if err := changeRoot(c.Program); err != nil {
			return stepView, err
		}
	}
	if err := c.dropRights(); err != nil {
		return stepIdentity, err
	}
	if deserted() {
		return stepStart, errors.New("the hub is gone")
	}
	if c.Landlock {
		if err := lockFiles(c.View, c.Program); err != nil {
			return stepLandlock, err
		}
	}
	filter := program(os.Getpid())
	if err := c.limit(); err != nil {
		return stepLimits, err
	}
	if c.Seccomp {
		if err := loadFilter(filter); err != nil {
			return stepSeccomp, err
		}
	}
	return enter(&unix.Rlimit{Cur: c.Memory, Max: c.Memory}, argv0, &argv[0], &env[0])
}

// deserted reports whether the hub is gone. Had it died before this process asked to be told of that, nobody would tell.
func deserted() bool {
	status := []unix.PollFd{{Fd: statusFD}}
	n, err := unix.Poll(status, 0)
	return err == nil && n > 0 && status[0].Revents&unix.POLLERR != 0 // nobody reads what it says
}
