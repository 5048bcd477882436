// Package cephrbd keeps block images in a pool of a Ceph cluster, through librbd. It is the only package of Atoll that
// needs cgo: built without, Available is false and Open always fails.
//
// The headers of the installed librbd decide which build tag go-ceph needs. Debian 12 has Ceph 16 and needs
//
//	go build -tags pacific,ceph_preview ./agent/...
//
// Newer releases need the tag of their name, or none. With ceph_preview go-ceph offers the checksums of RADOS; without it
// Sum is not supported and copies are read to verify them. `make ceph-tags` prints the tags for the installed librbd.
//
// # Connection
//
// A Pool has one connection to its cluster, made at first use and made again after it broke, so that an agent starts while
// its cluster is down. Until then every method fails with Unavailable STORE_UNREACHABLE, or with what else is wrong.
//
// # Calls that cannot be cancelled
//
// Neither librados nor librbd can interrupt a call. Every one of them therefore runs in a goroutine of its own, of which
// there are at most Config.Calls. A method whose context ends returns at once and abandons its call, which keeps its place
// among those and its handle open until it ends by itself, at the latest after a few times Config.OSDTimeout. See
// Pool.Stalled for calls that do not even do that.
//
// WriteAt and ReadAt give the library buffers of the pool's own and copy between them and the caller's, because an
// abandoned call goes on using its memory. The caller may reuse its buffer as soon as the method returns. The copy costs
// 0.07 to 0.1 CPU seconds per GiB, some 4 % of what client and OSD spend on a write. Handing the caller's memory to the
// library would save that only by making the caller wait for calls that may take minutes, or by letting what it puts into
// its buffers next reach the image.
package cephrbd

import (
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// Config describes one store. Zero values of optional fields mean the defaults.
type Config struct {
	ConfFile string // path of the cluster's ceph.conf, which also leads to the user's key
	User     string // Ceph user without the prefix "client.", such as "atoll"
	Pool     string // name of the pool

	Features    uint64 // image features, see ParseFeatures; default DefaultFeatures
	ObjectOrder int    // objects have 2^ObjectOrder bytes, 12 to 26; default 22, which is 4 MiB

	// Calls is how many library calls run at the same time, abandoned ones included; default 16.
	Calls int
	// MountTimeout bounds connecting, default 15 s; MonTimeout a command to the monitors, default 30 s; OSDTimeout one
	// operation of an OSD, default 30 s. A call is made of several operations and may take a few times as long. They are
	// passed to Ceph in whole seconds, at least one.
	MountTimeout, MonTimeout, OSDTimeout time.Duration
	// CloseTimeout bounds how long closing a pool or an image waits for calls that are still running, default OSDTimeout, but
	// at most 5 s.
	CloseTimeout time.Duration

	// ClientsFile is the path of a file in which the pool notes its Ceph clients, so that the next process can shut out those
	// of one that was killed. Without it, images that such a process was writing stay busy for 30 s. Only one process at a
	// time may use it: the caller holds a lock that says so.
	ClientsFile string

	Log hclog.Logger
	// Now is the clock that Stalled reads; default time.Now.
	Now func() time.Time
}

// withDefaults returns the configuration with defaults filled in, or an Invalid error that names the field.
func (c Config) withDefaults() (Config, error) {
	switch {
	case c.ConfFile == "":
		return c, fault.BadField("conf", "the path of the cluster's ceph.conf is missing")
	case c.User == "":
		return c, fault.BadField("user", "the name of the Ceph user is missing")
	case len(c.User) > 7 && c.User[:7] == "client.":
		return c, fault.BadField("user", "%q must be written without the prefix \"client.\"", c.User)
	case c.Pool == "":
		return c, fault.BadField("pool", "the name of the pool is missing")
	case c.Calls < 0:
		return c, fault.BadField("calls", "%d is negative", c.Calls)
	case c.ObjectOrder != 0 && (c.ObjectOrder < 12 || c.ObjectOrder > 26):
		return c, fault.BadField("object_order", "%d is not between 12 and 26", c.ObjectOrder)
	}
	if c.Features == 0 {
		c.Features = DefaultFeatures
	}
	if err := checkFeatures(c.Features); err != nil {
		return c, err
	}
	if c.ObjectOrder == 0 {
		c.ObjectOrder = 22
	}
	if c.Calls == 0 {
		c.Calls = 16
	}
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{{&c.MountTimeout, 15 * time.Second}, {&c.MonTimeout, 30 * time.Second}, {&c.OSDTimeout, 30 * time.Second}} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
		*d.value = max(d.value.Round(time.Second), time.Second)
	}
	if c.Log == nil {
		c.Log = hclog.NewNullLogger()
	}
	if c.CloseTimeout <= 0 {
		c.CloseTimeout = min(c.OSDTimeout, 5*time.Second)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, nil
}
