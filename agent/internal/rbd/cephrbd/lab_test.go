//go:build cgo

package cephrbd_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/agent/internal/rbd/cephrbd"
)

// labScript starts and stops the OSDs of the cluster under test.
const labScript = "../../../../e2e/lab/ceph.sh"

// cluster is the Ceph cluster under test, which these tests need for themselves: they stop its OSD.
type cluster struct{ conf, user, pool string }

// testCluster returns the cluster that ATOLL_TEST_CEPH_CONF names, with ATOLL_TEST_CEPH_USER (default atoll) and
// ATOLL_TEST_CEPH_POOL (default images). The user client.admin must be able to do everything with the same conf.
func testCluster(tb testing.TB) cluster {
	tb.Helper()
	c := cluster{conf: os.Getenv("ATOLL_TEST_CEPH_CONF"), user: os.Getenv("ATOLL_TEST_CEPH_USER"), pool: os.Getenv("ATOLL_TEST_CEPH_POOL")}
	if c.conf == "" {
		tb.Skip("ATOLL_TEST_CEPH_CONF names no cluster")
	}
	if c.user == "" {
		c.user = "atoll"
	}
	if c.pool == "" {
		c.pool = "images"
	}
	return c
}

// config has timeouts that a cluster on a loaded machine keeps within.
func (c cluster) config() cephrbd.Config {
	return cephrbd.Config{
		ConfFile: c.conf, User: c.user, Pool: c.pool, Log: hclog.NewNullLogger(),
		MountTimeout: time.Minute, MonTimeout: time.Minute, OSDTimeout: time.Minute, CloseTimeout: time.Minute,
	}
}

// hasty is config for what is expected to time out.
func (c cluster) hasty() cephrbd.Config {
	config := c.config()
	config.MountTimeout, config.MonTimeout, config.OSDTimeout = 3*time.Second, 3*time.Second, 2*time.Second
	return config
}

// open returns a pool that is closed at the end of the test, which fails when calls are still running then.
func (c cluster) open(tb testing.TB, config cephrbd.Config) rbd.Pool {
	tb.Helper()
	pool, err := cephrbd.Open(context.WithoutCancel(tb.Context()), config)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := pool.Close(); err != nil {
			tb.Errorf("close the pool: %v", err)
		}
	})
	return pool
}

// command runs one of Ceph's own tools as client.admin.
func (c cluster) command(tb testing.TB, tool string, args ...string) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), 60*time.Second)
	defer cancel()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, tool, append([]string{"-c", c.conf}, args...)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("%s %s: %v\n%s", tool, strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// lab runs a command of the lab script on the cluster; the test is skipped when the cluster is not one of the lab.
func (c cluster) lab(tb testing.TB, command string) {
	tb.Helper()
	dir := filepath.Dir(c.conf)
	if _, err := os.Stat(filepath.Join(dir, "made")); err != nil {
		if os.Getenv("CI") == "true" {
			tb.Fatalf("CI starts its cluster with e2e/lab/ceph.sh: %v", err)
		}
		tb.Skip("the cluster was not started by e2e/lab/ceph.sh")
	}
	out, err := exec.Command("bash", labScript, command, filepath.Dir(dir), filepath.Base(dir)).CombinedOutput()
	if err != nil {
		tb.Fatalf("%s: %v\n%s", command, err, out)
	}
}

// eventually repeats try until it succeeds; only for what happens in Ceph's daemons.
func eventually(tb testing.TB, within time.Duration, what string, try func() error) {
	tb.Helper()
	deadline := time.Now().Add(within)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("%s: %v after %v", what, err, within)
		}
		<-time.After(200 * time.Millisecond)
	}
}

// closing closes a handle at the end of a function.
func closing(tb testing.TB, c io.Closer) {
	tb.Helper()
	if err := c.Close(); err != nil {
		tb.Errorf("close: %v", err)
	}
}
