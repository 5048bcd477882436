package etcdstore

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/catalog/catalogtest"
)

// TestExternalEtcd runs against the etcd program of this machine; the oldest supported one is Debian 12's, 3.4.23.
func TestExternalEtcd(t *testing.T) {
	program, err := exec.LookPath("etcd")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("no etcd program, which CI installs")
		}
		t.Skip("no etcd program; on Debian: apt-get install etcd-server")
	}
	client, peer := freeURL(t), freeURL(t)
	cmd := exec.Command(program, "--data-dir", t.TempDir(), "--log-level", "error",
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // reports the kill
	})
	external := func(t *testing.T, hubID string) *Store {
		t.Helper()
		c := config(t, hubID)
		c.Endpoints = []string{client}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		s, err := Open(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		closeAfter(t, s)
		return s
	}
	t.Run("conformance", func(t *testing.T) {
		catalogtest.RunConformance(t, func(t *testing.T) catalog.Records {
			t.Helper()
			return external(t, "a")
		})
	})
	t.Run("election", func(t *testing.T) {
		a, b := external(t, "a"), external(t, "b")
		lost := campaign(t, a)
		zombie := &term{lease: a.term.Load().lease, key: a.term.Load().key, rev: a.term.Load().rev, lost: make(chan struct{})}
		done := behind(t.Context(), t, b, 2)
		if _, err := b.client.Revoke(t.Context(), zombie.lease); err != nil {
			t.Fatal(err)
		}
		wantLost(t, lost)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		a.term.Store(zombie)
		wantNotLeader(t, a.Commit(t.Context(), siteWrite(a, "x", "by a zombie")))
		var full []catalog.Write // the most operations that a fenced commit can have
		for i := range catalog.MaxWrites {
			full = append(full, siteWrite(b, fmt.Sprintf("s%d", i), ""))
		}
		commit(t, b, full...)
	})
	t.Run("signs of life", func(t *testing.T) {
		s := external(t, "a")
		commit(t, s, siteWrite(s, "x", ""))
		seen := s.metrics.seen.Load()
		eventually(t, func() bool { return s.metrics.seen.Load() > seen })
		eventually(t, func() bool { return metric(t, s, "atoll_catalog_database_bytes", "") > 0 })
	})
}

// freeURL returns a URL of a port that was free a moment ago.
func freeURL(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return "http://" + l.Addr().String()
}
