package sandbox

import "golang.org/x/sys/unix"

const (
	auditArch = uint32(unix.AUDIT_ARCH_X86_64)
	otherABI  = uint32(0x40000000) // where the numbers of x32 start
)

// forbiddenHere are the calls that only this architecture has.
func forbiddenHere() []uint32 {
	return []uint32{unix.SYS_FORK, unix.SYS_VFORK, unix.SYS_MODIFY_LDT, unix.SYS_IOPL, unix.SYS_IOPERM}
}
