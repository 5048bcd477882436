package sandbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Limits of one run. They are hard: what goes beyond is refused, or the process is killed.
type Limits struct {
	Memory int64         // bytes of address space
	CPU    time.Duration // processor time, counted in whole seconds
}

const (
	mostFiles   = 64 // open at once
	mostThreads = 64
	nobody      = 65534 // where no user has that name
	// probeTime is long, because what takes longer counts as a protection that does not work, also on a machine that stands still.
	probeTime = 2 * time.Minute
)

// Sandbox runs one program. It is safe for concurrent use.
type Sandbox struct {
	cell cell
}

// Open finds out which protections work here for a program, an absolute path: it runs it with args, which must do nothing and
// succeed, in ever weaker cells until that works. It logs what is in force. name is the user to run as when this process is
// root: a name, or numbers as UID:GID; empty for nobody. Open blocks until the runs are over, and fails when the program does not
// run at all.
func Open(ctx context.Context, program string, args []string, name string, limits Limits, log hclog.Logger) (*Sandbox, error) {
	program, err := filepath.EvalSymlinks(program)
	if err != nil {
		return nil, err
	}
	c := cell{Spaces: true, User: true, View: true, Landlock: true, Seccomp: auditArch != 0, Program: program}
	if os.Geteuid() == 0 {
		c.Identity = true
		if c.UID, c.GID, err = lookup(name); err != nil {
			return nil, err
		}
	}
	for {
		s := &Sandbox{cell: c}
		step, err := s.probe(ctx, args, limits)
		if err == nil {
			s.tell(log)
			return s, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		log.Debug("a protection of the sandbox does not work here", "step", step, "error", err)
		weaker, ok := c.weaker(step)
		if !ok {
			return nil, err
		}
		c = weaker
	}
}

// probe runs the program and tells the step that failed.
func (s *Sandbox) probe(ctx context.Context, args []string, limits Limits) (step string, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	r, err := s.Run(ctx, args, nil, limits)
	var failed *stepError
	switch {
	case errors.As(err, &failed):
		return failed.step, err
	case err != nil:
		return stepRun, err
	case !r.OK():
		return stepRun, fmt.Errorf("the program failed: %s: %s", r.State, r.Stderr)
	}
	return "", nil
}

func (s *Sandbox) tell(log hclog.Logger) {
	has, lacks := s.cell.protections()
	level := hclog.Info
	if !s.cell.hidesFiles() || !s.cell.hidesNetwork() {
		level = hclog.Warn
	}
	log.Log(level, "sandbox is ready", "program", filepath.Base(s.cell.Program), "protections", has, "missing", lacks)
}

// lookup returns the ids of a user.
func lookup(name string) (uid, gid int, err error) {
	if u, g, ok := strings.Cut(name, ":"); ok {
		uid, uerr := strconv.ParseUint(u, 10, 31)
		gid, gerr := strconv.ParseUint(g, 10, 31)
		if uerr != nil || gerr != nil || uid == 0 || gid == 0 {
			return 0, 0, fmt.Errorf("%q is not UID:GID of a user other than root", name)
		}
		return int(uid), int(gid), nil
	}
	u, err := user.Lookup(cmp.Or(name, "nobody"))
	if err != nil {
		if name == "" {
			return nobody, nobody, nil
		}
		return 0, 0, err
	}
	if uid, err = strconv.Atoi(u.Uid); err != nil {
		return 0, 0, err
	}
	if gid, err = strconv.Atoi(u.Gid); err != nil {
		return 0, 0, err
	}
	if uid == 0 {
		return 0, 0, fmt.Errorf("%q is root", name)
	}
	return uid, gid, nil
}
