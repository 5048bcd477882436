//go:build cgo

package cephrbd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

// wantFault fails unless err has the class and the reason, and shows neither paths nor addresses to users.
func wantFault(t *testing.T, what string, err error, class fault.Class, reason string) {
	t.Helper()
	if !fault.Is(err, class) || fault.ReasonOf(err) != reason {
		t.Fatalf("%s: %v (%v %s), want %v %s", what, err, fault.ClassOf(err), fault.ReasonOf(err), class, reason)
	}
	if text := fault.Public(err); strings.ContainsAny(text, "/") || strings.Contains(text, "127.0.0.1") {
		t.Errorf("%s: the public text %q says too much", what, text)
	}
}

// within fails when f takes longer than limit.
func within(t *testing.T, limit time.Duration, what string, f func() error) error {
	t.Helper()
	began := time.Now()
	err := f()
	if took := time.Since(began); took > limit {
		t.Errorf("%s took %v, want at most %v", what, took, limit)
	}
	return err
}

// unique returns a name that no other run uses, because what a killed run left behind is busy for a while.
func unique(name string) string { return fmt.Sprintf("%s-%d", name, time.Now().UnixNano()) }

func newImage(t *testing.T, pool rbd.Pool, name string, size int64) rbd.Image {
	t.Helper()
	img, err := pool.Create(t.Context(), name, size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = img.Close()
		if err := pool.Remove(context.WithoutCancel(t.Context()), name); err != nil && !fault.Is(err, fault.NotFound) {
			t.Errorf("remove %s: %v", name, err)
		}
	})
	return img
}

func TestOSDStops(t *testing.T) {
	c := testCluster(t)
	patient := c.open(t, c.config())
	name := unique("outage")
	if err := newImage(t, patient, name, 16<<20).Close(); err != nil {
		t.Fatal(err)
	}
	pool := c.open(t, c.hasty())
	var img rbd.Image
	// It may take longer than a hasty pool waits.
	eventually(t, time.Minute, "open", func() (err error) { img, err = pool.Open(t.Context(), name); return err })
	t.Cleanup(func() { _ = img.Close() })
	data := bytes.Repeat([]byte("atoll"), 100000)
	eventually(t, time.Minute, "write", func() error { return img.WriteAt(t.Context(), data, 0) })
	c.lab(t, "osd-stop")
	t.Cleanup(func() { c.lab(t, "osd-start") })

	const limit = 45 * time.Second // many times the timeout of one operation, for a loaded machine
	err := within(t, limit, "write", func() error { return img.WriteAt(t.Context(), data, 4<<20) })
	wantFault(t, "write", err, fault.Unavailable, "STORE_UNREACHABLE")
	err = within(t, limit, "info", func() error { _, err := pool.Info(t.Context()); return err })
	wantFault(t, "info", err, fault.Unavailable, "STORE_UNREACHABLE")
	err = within(t, limit, "open", func() error { _, err := pool.OpenSnapshot(t.Context(), name); return err })
	wantFault(t, "open", err, fault.Unavailable, "STORE_UNREACHABLE")

	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err = within(t, 20*time.Second, "info with a deadline", func() error { _, err := patient.Info(short); return err })
	wantFault(t, "info with a deadline", err, fault.Unavailable, "STORE_UNREACHABLE")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v does not say that the deadline passed", err)
	}

	c.lab(t, "osd-start")
	eventually(t, time.Minute, "info after the OSD came back", func() error { _, err := pool.Info(t.Context()); return err })
	eventually(t, time.Minute, "write after the OSD came back", func() error { return img.WriteAt(t.Context(), data, 4<<20) })
	got := make([]byte, len(data))
	for _, off := range []int64{0, 4 << 20} {
		eventually(t, time.Minute, "read after the OSD came back", func() error { return img.ReadAt(t.Context(), got, off) })
		if !bytes.Equal(got, data) {
			t.Errorf("bytes at %d differ", off)
		}
	}
}

// TestMonitorsAppear starts with monitors that do not answer.
func TestMonitorsAppear(t *testing.T) {
	c := testCluster(t)
	signalMon := func(signal syscall.Signal) {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(filepath.Dir(c.conf), "run", "mon.pid"))
		if err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("CI starts its cluster with e2e/lab/ceph.sh: %v", err)
			}
			t.Skip("the cluster was not started by e2e/lab/ceph.sh")
		}
		pid, err := strconv.Atoi(strings.Fields(string(b))[0])
		if err == nil {
			err = syscall.Kill(pid, signal)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	signalMon(syscall.SIGSTOP)
	defer signalMon(syscall.SIGCONT)
	pool := c.open(t, c.hasty()) // 3 s to connect
	err := within(t, 45*time.Second, "info", func() error { _, err := pool.Info(t.Context()); return err })
	wantFault(t, "info", err, fault.Unavailable, "STORE_UNREACHABLE")
	patient := c.open(t, c.config())
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err = within(t, 20*time.Second, "list with a deadline", func() error { _, err := patient.List(ctx); return err })
	wantFault(t, "list with a deadline", err, fault.Unavailable, "STORE_UNREACHABLE")
	signalMon(syscall.SIGCONT)
	eventually(t, time.Minute, "info after the monitors appeared", func() error { _, err := pool.Info(t.Context()); return err })
}

// TestNobodyListens connects to a port that is closed.
func TestNobodyListens(t *testing.T) {
	c := testCluster(t)
	config := c.hasty()
	config.ConfFile = filepath.Join(t.TempDir(), "ceph.conf")
	text := "[global]\nmon host = [v2:127.0.0.1:1]\nauth client required = none\n"
	if err := os.WriteFile(config.ConfFile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	pool := c.open(t, config)
	err := within(t, 45*time.Second, "info", func() error { _, err := pool.Info(t.Context()); return err })
	wantFault(t, "info", err, fault.Unavailable, "STORE_UNREACHABLE")
	c.copyConf(t, config.ConfFile, "") // the operator corrects the configuration
	eventually(t, time.Minute, "info with the right configuration", func() error { _, err := pool.Info(t.Context()); return err })
}

func TestNoConfiguration(t *testing.T) {
	c := testCluster(t)
	config := c.config()
	config.ConfFile = filepath.Join(t.TempDir(), "none.conf")
	_, err := c.open(t, config).Info(t.Context())
	wantFault(t, "info", err, fault.Precondition, "STORE_CONFIG")
}

// TestKeys goes through keys that do not work to one that does, with one pool.
func TestKeys(t *testing.T) {
	c := testCluster(t)
	dir := t.TempDir()
	config := c.config()
	config.ConfFile = filepath.Join(dir, "ceph.conf")
	keyring := filepath.Join(dir, "keyring")
	c.copyConf(t, config.ConfFile, keyring)
	pool := c.open(t, config)

	_, err := pool.Info(t.Context())
	wantFault(t, "info without a key", err, fault.Denied, "NO_ACCESS")

	key := "[client." + c.user + "]\n\tkey = AQDLm0BkAAAAABAAq2T0QnZcG3l5mK7f8u4w2A==\n"
	if err := os.WriteFile(keyring, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	err = within(t, 45*time.Second, "info with a wrong key", func() error { _, err := pool.Info(t.Context()); return err })
	wantFault(t, "info with a wrong key", err, fault.Denied, "NO_ACCESS")

	right := c.command(t, "ceph", "auth", "get", "client."+c.user)
	if err := os.WriteFile(keyring, []byte(right), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Info(t.Context()); err != nil {
		t.Errorf("info with the right key: %v", err)
	}
}

// TestKeyWithoutRights uses a user that may connect and nothing else.
func TestKeyWithoutRights(t *testing.T) {
	c := testCluster(t)
	dir := t.TempDir()
	config := c.config()
	config.User = "rbdtest-guest"
	config.ConfFile = filepath.Join(dir, "ceph.conf")
	keyring := filepath.Join(dir, "keyring")
	c.copyConf(t, config.ConfFile, keyring)
	text := c.command(t, "ceph", "auth", "get-or-create", "client.rbdtest-guest", "mon", "allow r")
	t.Cleanup(func() { c.command(t, "ceph", "auth", "rm", "client.rbdtest-guest") })
	if err := os.WriteFile(keyring, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	pool := c.open(t, config)
	for what, call := range map[string]func() error{
		"info":   func() error { _, err := pool.Info(t.Context()); return err },
		"list":   func() error { _, err := pool.List(t.Context()); return err },
		"create": func() error { _, err := pool.Create(t.Context(), "forbidden", 1<<20); return err },
		"open":   func() error { _, err := pool.Open(t.Context(), "forbidden"); return err },
	} {
		wantFault(t, what, call(), fault.Denied, "NO_ACCESS")
	}
}

// copyConf copies the cluster's configuration, with another keyring unless that is empty.
func (c cluster) copyConf(t *testing.T, to, keyring string) {
	t.Helper()
	b, err := os.ReadFile(c.conf)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(b), "\n")
	for i, line := range lines {
		if keyring != "" && strings.HasPrefix(strings.TrimSpace(line), "keyring") {
			lines[i] = "keyring = " + keyring
		}
	}
	if err := os.WriteFile(to, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestPoolComesAndGoes needs a user who may use any pool, so it uses client.admin.
func TestPoolComesAndGoes(t *testing.T) {
	c := testCluster(t)
	config := c.config()
	config.User, config.Pool = "admin", "rbdtest-pool"
	drop := func() {
		c.command(t, "ceph", "osd", "pool", "rm", config.Pool, config.Pool, "--yes-i-really-really-mean-it")
	}
	t.Cleanup(drop)
	pool := c.open(t, config)
	_, err := pool.Info(t.Context())
	wantFault(t, "info", err, fault.Precondition, "POOL_MISSING")
	_, err = pool.Create(t.Context(), "image", 1<<20)
	wantFault(t, "create", err, fault.Precondition, "POOL_MISSING")

	for round := range 3 {
		c.command(t, "ceph", "osd", "pool", "create", config.Pool, "8", "8")
		var img rbd.Image
		eventually(t, time.Minute, "create", func() (err error) { img, err = pool.Create(t.Context(), "image", 1<<20); return err })
		if err := img.WriteAt(t.Context(), []byte{1}, 0); err != nil {
			t.Fatal(err)
		}
		_ = img.Close()
		drop()
		calls := []func() error{
			func() error { _, err := pool.List(t.Context()); return err },
			func() error { _, err := pool.Open(t.Context(), "image"); return err },
			func() error { _, err := pool.Info(t.Context()); return err },
		}
		slices.Reverse(calls[:1+round]) // each call is once the first to notice
		for i, call := range calls {
			eventually(t, time.Minute, fmt.Sprintf("call %d in round %d", i, round), func() error { // the OSD hears of it a little later
				if err := call(); fault.ReasonOf(err) != "POOL_MISSING" {
					return errors.Join(errors.New("want POOL_MISSING"), err)
				}
				return nil
			})
		}
	}
}

func TestBlocklisted(t *testing.T) {
	c := testCluster(t)
	pool := c.open(t, c.config())
	name := unique("blocklisted")
	img := newImage(t, pool, name, 16<<20)
	if err := img.WriteAt(t.Context(), []byte{1}, 0); err != nil {
		t.Fatal(err)
	}
	status := c.command(t, "rbd", "status", c.pool+"/"+name)
	_, rest, ok := strings.Cut(status, "watcher=")
	if !ok {
		t.Fatalf("no watcher in %q", status)
	}
	address := strings.Fields(rest)[0]
	c.command(t, "ceph", "osd", "blocklist", "add", address)
	t.Cleanup(func() { c.command(t, "ceph", "osd", "blocklist", "rm", address) })
	var err error
	eventually(t, time.Minute, "the write is refused", func() error {
		if err = img.WriteAt(t.Context(), []byte{2}, 0); err == nil {
			return errors.New("the write succeeded")
		}
		return nil
	})
	wantFault(t, "write", err, fault.Unavailable, "STORE_UNREACHABLE")
	eventually(t, time.Minute, "open on a new connection", func() error {
		again, err := pool.Open(t.Context(), name)
		if err != nil {
			return err
		}
		defer closing(t, again)
		return again.WriteAt(t.Context(), []byte{3}, 0)
	})
	if err := img.WriteAt(t.Context(), []byte{4}, 0); err == nil {
		t.Error("the old handle writes again")
	}
}

// TestFull fills a pool to its quota, and a cluster to its full ratio.
func TestFull(t *testing.T) {
	c := testCluster(t)
	quota := func(bytes string) { c.command(t, "ceph", "osd", "pool", "set-quota", c.pool, "max_bytes", bytes) }
	ratios := func(nearfull, backfillfull, full string) {
		c.command(t, "ceph", "osd", "set-nearfull-ratio", nearfull)
		c.command(t, "ceph", "osd", "set-backfillfull-ratio", backfillfull)
		c.command(t, "ceph", "osd", "set-full-ratio", full)
	}
	for _, limit := range []struct {
		name     string
		set, end func()
	}{
		{"quota", func() { quota("20000000") }, func() { quota("0") }},
		{"ratio", func() { ratios("0.01", "0.01", "0.01") }, func() { ratios("0.85", "0.90", "0.95") }},
	} {
		t.Run(limit.name, func(t *testing.T) {
			pool := c.open(t, c.config())
			name := unique("full")
			t.Cleanup(func() {
				limit.end()
				ctx := context.WithoutCancel(t.Context())
				eventually(t, time.Minute, "the pool takes images again", func() error {
					img, err := pool.Create(ctx, name, 1)
					if err != nil {
						return err
					}
					return errors.Join(img.Close(), pool.Remove(ctx, name))
				})
			})
			img := newImage(t, pool, name, 1<<40)
			limit.set()
			data := bytes.Repeat([]byte{1}, 4<<20)
			var err error
			off := int64(0)
			eventually(t, 2*time.Minute, "a write is refused", func() error { // it takes the cluster some seconds to notice
				for range 8 { // always new objects: overwriting goes on in a full pool
					if err = img.WriteAt(t.Context(), data, off); err != nil {
						return nil
					}
					off += int64(len(data))
				}
				return errors.New("the pool takes more than it should")
			})
			wantFault(t, "write", err, fault.Exhausted, "NO_SPACE")
			_, err = pool.Create(t.Context(), name+"-more", 1<<30)
			wantFault(t, "create", err, fault.Exhausted, "NO_SPACE")
			eventually(t, time.Minute, "the statistics tell", func() error { // they lag behind
				info, err := pool.Info(t.Context())
				if err != nil || info.TotalBytes <= 0 || info.FreeBytes != 0 || limit.name == "quota" && info.TotalBytes != 20000000 {
					return fmt.Errorf("info is %+v (%w)", info, err)
				}
				return nil
			})
			// Deleting is how a full pool gets space again.
			if err := errors.Join(img.Close(), pool.Remove(t.Context(), name)); err != nil {
				t.Errorf("remove from a full pool: %v", err)
			}
		})
	}
}
