package qemu

import (
	"time"

	"github.com/hashicorp/go-hclog"
)

// Options are those of a Converter. What is zero gets its default.
type Options struct {
	Program string        // name or path of qemu-img; default qemu-img
	User    string        // whom it runs as when the hub is root: a name or UID:GID; default nobody
	Memory  int64         // most bytes of address space of one conversion; default DefaultMemory
	CPU     time.Duration // most processor time of one conversion; default 10 min and 10 s for each GiB of the disk
	Time    time.Duration // most time of one conversion in which it does not wait for the hub; default twice CPU
	Most    int           // conversions at once, others wait; default DefaultMost
	Log     hclog.Logger  // required
}

// Defaults of Options.
const (
	DefaultProgram = "qemu-img"
	DefaultMemory  = 1 << 30
	DefaultMost    = 2

	leastTime = 10 * time.Minute
	timePerGB = 10 * time.Second
)

// times returns the limits for a disk of size bytes.
func (o Options) times(size int64) (cpu, wall time.Duration) {
	cpu, wall = o.CPU, o.Time
	if cpu == 0 {
		cpu = leastTime + time.Duration(size>>30)*timePerGB
	}
	if wall == 0 {
		wall = 2 * cpu
	}
	return cpu, wall
}
