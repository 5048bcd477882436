package sandbox

import "golang.org/x/sys/unix"

const (
	auditArch = uint32(unix.AUDIT_ARCH_AARCH64)
	otherABI  = uint32(1<<31 - 1) // there is none
)

// forbiddenHere are the calls that only this architecture has.
func forbiddenHere() []uint32 { return nil }
