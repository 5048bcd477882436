//go:build cgo

package cephrbd_test

import (
	"bytes"
	"fmt"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/agent/internal/rbd/rbdtest"
)

var clones atomic.Int64

// clone makes a clone with Ceph's own tool in a pool.
func (c cluster) clone(t *testing.T, image, pool string) rbdtest.Clone {
	t.Helper()
	spec := fmt.Sprintf("%s/clone-%d-%d", pool, time.Now().UnixNano(), clones.Add(1))
	c.command(t, "rbd", "clone", "--rbd-default-clone-format", "2", c.pool+"/"+image+"@snap", spec)
	return rbdtest.Clone{
		Read: func(t *testing.T, n int) []byte {
			t.Helper()
			out, err := exec.Command("rbd", "-c", c.conf, "export", "--no-progress", spec, "-").Output()
			if err != nil {
				t.Fatalf("export the clone: %v", err)
			}
			return bytes.Clone(out[:n])
		},
		Delete: func(t *testing.T) { t.Helper(); c.command(t, "rbd", "rm", "--no-progress", spec) },
	}
}

func TestConformance(t *testing.T) {
	c := testCluster(t)
	open := func(t *testing.T) rbd.Pool {
		t.Helper()
		return c.open(t, c.config())
	}
	rbdtest.Run(t, open, rbdtest.Options{
		Driver: "ceph",
		Clone: func(t *testing.T, image string) rbdtest.Clone {
			t.Helper()
			return c.clone(t, image, c.pool)
		},
		Stall: func(t *testing.T) func() {
			t.Helper()
			c.lab(t, "osd-pause")
			paused := true
			return func() {
				if paused {
					paused = false
					c.lab(t, "osd-resume")
				}
			}
		},
		Settle: time.Minute,
	})
}
