package etcdstore

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/catalog/catalogtest"
	"github.com/atoll-dcn/atoll/pkg/retry"
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
	client := startEtcd(t, program)
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

// startEtcd runs the program and returns its URL once it answers. Where somebody else has taken one of its ports meanwhile
// it ends at once, and others are tried.
func startEtcd(t *testing.T, program string) (client string) {
	t.Helper()
	dir, err := os.MkdirTemp(memory(), "etcd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	deadline := time.Now().Add(time.Minute)
	for attempt := range 10 {
		client, peer := freeURL(t), freeURL(t)
		var out bytes.Buffer
		cmd := exec.Command(program, "--data-dir", filepath.Join(dir, strconv.Itoa(attempt)), "--log-level", "error",
			"--listen-client-urls", client, "--advertise-client-urls", client,
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer)
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = cmd.Wait() // reports the kill
		}()
		kill := func() {
			_ = cmd.Process.Kill()
			<-ended
		}
		if answers(t, client, ended, deadline) {
			t.Cleanup(kill)
			return client
		}
		kill()
		t.Logf("etcd did not start: %s", &out)
		if time.Now().After(deadline) {
			break
		}
	}
	t.Fatal("etcd does not start")
	return ""
}

// answers waits until etcd answers at a URL, and reports false when its process ends or time is up before that.
func answers(t *testing.T, url string, ended <-chan struct{}, deadline time.Time) bool {
	t.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	for {
		select {
		case <-ended:
			return false
		default:
		}
		ctx, cancel := context.WithDeadline(t.Context(), deadline)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/version", nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := transport.RoundTrip(req); err == nil {
			b, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err == nil && bytes.Contains(b, []byte("etcdserver")) {
				cancel()
				return true
			}
		}
		cancel()
		if time.Now().After(deadline) {
			return false
		}
		_ = retry.Sleep(t.Context(), 20*time.Millisecond)
	}
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
