package sandbox

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// lastCapability is above all that kernels have.
const lastCapability = 63

// dropRights changes the user and gives up every capability, for this thread and what it becomes.
func (c cell) dropRights() error {
	for capability := range uintptr(lastCapability + 1) { // neither knowing all nor being allowed to is needed with no_new_privs
		_ = unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0)
	}
	_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	if c.Identity && !c.User {
		for _, call := range [][4]uintptr{
			{unix.SYS_SETGROUPS},
			{unix.SYS_SETRESGID, uintptr(c.GID), uintptr(c.GID), uintptr(c.GID)},
			{unix.SYS_SETRESUID, uintptr(c.UID), uintptr(c.UID), uintptr(c.UID)},
		} { // of this thread alone, which is the one that runs the program
			if _, _, errno := unix.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
				return errno
			}
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0) // changing the user has cleared it
}

// limit sets the limits of the process but that of memory.
func (c cell) limit() error {
	limits := []struct {
		resource int
		most     uint64
	}{
		{unix.RLIMIT_CORE, 0},
		{unix.RLIMIT_FSIZE, 0},
		{unix.RLIMIT_NOFILE, c.Files},
		{unix.RLIMIT_CPU, c.CPU},
		{unix.RLIMIT_NPROC, c.Processes},
	}
	for _, l := range limits {
		if l.resource == unix.RLIMIT_NPROC && l.most == 0 {
			continue
		}
		if err := unix.Setrlimit(l.resource, &unix.Rlimit{Cur: l.most, Max: l.most}); err != nil {
			return err
		}
	}
	return nil
}

// enter limits the address space and runs the program. This process has more memory than that already: if its runtime wanted a
// thread or anything else in between, it would end. So nothing interrupts these two calls: no check of the stack, no memory
// of the race detector, and no signal of the scheduler, see Run.
//
//go:nosplit
//go:norace
func enter(memory *unix.Rlimit, program *byte, argv, env **byte) (step string, err error) {
	_, _, errno := unix.RawSyscall6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_AS, uintptr(unsafe.Pointer(memory)), 0, 0, 0) //nolint:gosec // a system call
	if errno != 0 {
		return stepLimits, errno
	}
	_, _, errno = unix.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(program)), //nolint:gosec // a system call
		uintptr(unsafe.Pointer(argv)), uintptr(unsafe.Pointer(env))) //nolint:gosec // a system call
	return stepExec, errno
}
