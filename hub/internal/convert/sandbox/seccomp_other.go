//go:build !amd64 && !arm64

package sandbox

const (
	auditArch = uint32(0)
	otherABI  = uint32(0)
)

func forbiddenHere() []uint32 { return nil }
