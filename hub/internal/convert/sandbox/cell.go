package sandbox

import "strings"

// cell says which protections a process gets. It is the message from the hub to its child.
type cell struct {
	Spaces   bool // own process, mount, network, IPC and host name namespaces
	User     bool // and an own user namespace
	View     bool // own root directory; needs Spaces
	Identity bool // another user and group; done by User when that is set
	Landlock bool
	Seccomp  bool

	UID, GID int
	Program  string
	Args     []string // with the name

	Memory, CPU, Files, Processes uint64 // limits in bytes, seconds, open files and threads; Processes 0: none of its own
}

// protections tells what a cell has, and what it lacks.
func (c cell) protections() (has, lacks string) {
	var in, out []string
	for _, p := range []struct {
		name string
		on   bool
	}{
		{"namespaces", c.Spaces},
		{"user namespace", c.User},
		{"own root directory", c.View},
		{"other user", c.Identity},
		{"landlock", c.Landlock},
		{"seccomp", c.Seccomp},
	} {
		if p.on {
			in = append(in, p.name)
		} else {
			out = append(out, p.name)
		}
	}
	return strings.Join(in, ", "), strings.Join(out, ", ")
}

// hidesFiles reports whether the process can open none of the hub's files.
func (c cell) hidesFiles() bool { return c.View || c.Landlock || c.Identity }

// hidesNetwork reports whether the process can open no connection.
func (c cell) hidesNetwork() bool { return c.Spaces || c.Seccomp }

// weaker returns the cell without what failed in a step, and false when that cannot be left out.
func (c cell) weaker(step string) (cell, bool) {
	run := step == stepRun || step == stepExec
	switch {
	case step == stepStart && c.User: // root may be allowed the others without it
		c.User = false
		if !c.Identity {
			c.Spaces, c.View = false, false
		}
	case step == stepStart && c.Spaces:
		c.Spaces, c.View = false, false
	case (step == stepView || run) && c.View: // what the program needs may lie elsewhere
		c.View = false
	case step == stepIdentity && c.Identity:
		c.Identity = false
	case (step == stepLandlock || run) && c.Landlock:
		c.Landlock = false
	case (step == stepSeccomp || run) && c.Seccomp:
		c.Seccomp = false
	default:
		return c, false
	}
	return c, true
}
