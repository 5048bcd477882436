package sandbox

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data.
const (
	dataCall = 0
	dataArch = 4
	dataArg0 = 16 // its lower half: both architectures are little-endian
	dataArg1 = 24
)

// Commands that change who gets the signals of a file, beside F_SETOWN and SIOCSPGRP (asm-generic/fcntl.h and sockios.h).
const (
	setOwnerEx = 15
	setOwner   = 0x8901
)

// program returns a seccomp filter, nil for architectures that it does not know. It forbids what no reader of disk formats needs
// and what a stranger in it would like: sockets, processes, other processes' memory, mounts, and corners of the kernel that are
// known for their holes. All else is allowed, so that other versions of the program and its libraries work. self is the number
// of the process that the filter is for.
func program(self int) []unix.SockFilter {
	if auditArch == 0 {
		return nil
	}
	f := []unix.SockFilter{
		load(dataArch),
		jump(unix.BPF_JEQ, auditArch, 1, 0),
		end(unix.SECCOMP_RET_KILL_PROCESS), // the calls of another architecture have other numbers
		load(dataCall),
		jump(unix.BPF_JGE, otherABI, 0, 1),
		end(unix.SECCOMP_RET_KILL_PROCESS),
		// Threads are made with clone, whose flags can be looked at; clone3's cannot, and libraries do without it.
		jump(unix.BPF_JEQ, unix.SYS_CLONE3, 0, 1),
		end(unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)),
		jump(unix.BPF_JEQ, unix.SYS_CLONE, 0, 4),
		load(dataArg0),
		jump(unix.BPF_JSET, unix.CLONE_THREAD, 0, 1),
		end(unix.SECCOMP_RET_ALLOW),
		refuse(),
	}
	f = append(f, toItself(uint32(self))...)
	for _, call := range append(forbidden(), forbiddenHere()...) {
		f = append(f, jump(unix.BPF_JEQ, call, 0, 1), refuse())
	}
	return append(f, end(unix.SECCOMP_RET_ALLOW))
}

// toItself lets the process send signals and set limits to nobody but itself: where it has neither a process namespace nor a
// user of its own, it could stop the hub. The owner of a file is who gets its signals.
func toItself(self uint32) []unix.SockFilter {
	var f []unix.SockFilter
	for _, call := range []uint32{unix.SYS_KILL, unix.SYS_TGKILL, unix.SYS_PRLIMIT64} {
		f = append(f, jump(unix.BPF_JEQ, call, 0, 5),
			load(dataArg0),
			jump(unix.BPF_JEQ, self, 1, 0),
			jump(unix.BPF_JEQ, 0, 0, 1), // its own limits, and its own group
			end(unix.SECCOMP_RET_ALLOW),
			refuse())
	}
	for _, c := range []struct{ call, one, other uint32 }{
		{unix.SYS_FCNTL, unix.F_SETOWN, setOwnerEx},
		{unix.SYS_IOCTL, setOwner, unix.SIOCSPGRP},
	} {
		f = append(f, jump(unix.BPF_JEQ, c.call, 0, 5),
			load(dataArg1),
			jump(unix.BPF_JEQ, c.one, 1, 0),
			jump(unix.BPF_JEQ, c.other, 0, 1),
			refuse(),
			end(unix.SECCOMP_RET_ALLOW))
	}
	return f
}

func load(at uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
}

func jump(how uint16, k uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_K | how, K: k, Jt: yes, Jf: no}
}

func end(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }

func refuse() unix.SockFilter { return end(unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)) }

// forbidden are the calls that both architectures have.
func forbidden() []uint32 {
	return []uint32{
		unix.SYS_SOCKET, unix.SYS_SOCKETPAIR, unix.SYS_CONNECT, unix.SYS_BIND, unix.SYS_LISTEN, unix.SYS_ACCEPT, unix.SYS_ACCEPT4,
		unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_OPEN, unix.SYS_PIDFD_GETFD, unix.SYS_KCMP,
		unix.SYS_TKILL, unix.SYS_RT_SIGQUEUEINFO, unix.SYS_RT_TGSIGQUEUEINFO, unix.SYS_PIDFD_SEND_SIGNAL,
		unix.SYS_SETSID, unix.SYS_SETPGID, unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_CHROOT, unix.SYS_PIVOT_ROOT,
		unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_FSOPEN, unix.SYS_FSMOUNT, unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT, unix.SYS_MOUNT_SETATTR,
		unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD,
		unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
		unix.SYS_ADD_KEY, unix.SYS_KEYCTL, unix.SYS_REQUEST_KEY, unix.SYS_MEMFD_CREATE, unix.SYS_PERSONALITY,
		unix.SYS_KEXEC_LOAD, unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_REBOOT, unix.SYS_SWAPON,
		unix.SYS_ACCT, unix.SYS_QUOTACTL, unix.SYS_SYSLOG, unix.SYS_EXECVEAT,
	}
}

// loadFilter puts a filter around this thread and what it becomes.
func loadFilter(filter []unix.SockFilter) error {
	if len(filter) == 0 {
		return errors.New("no filter for this architecture")
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0) //nolint:gosec // a system call
}
