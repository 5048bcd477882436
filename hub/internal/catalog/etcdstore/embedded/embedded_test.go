package embedded_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/atoll-dcn/atoll/hub/internal/catalog/etcdstore/embedded"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/retry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// childDir tells TestServeUntilKilled where to serve.
const childDir = "ATOLL_TEST_EMBEDDED_DIR"

// TestServeUntilKilled is a server in a process of its own, for TestKill.
func TestServeUntilKilled(t *testing.T) {
	dir := os.Getenv(childDir)
	if dir == "" {
		t.Skip("only as a child of TestKill")
	}
	s := start(t, dir, nil)
	_, _ = fmt.Fprintln(os.Stdout, s.Endpoints()[0])
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent ends
}

func start(t *testing.T, dir string, log hclog.Logger) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(t.Context(), dir, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func dial(t *testing.T, endpoints ...string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	return c
}

func put(t *testing.T, c *clientv3.Client, key, value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := c.Put(ctx, key, value); err != nil {
		t.Fatal(err)
	}
}

// wantValue asks until there is an answer: the library's own attempts may be over before it connects to a new server.
func wantValue(t *testing.T, c *clientv3.Client, key, value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := c.Get(ctx, key)
	for err != nil {
		if retry.Sleep(ctx, 50*time.Millisecond) != nil {
			t.Fatal(err)
		}
		r, err = c.Get(ctx, key)
	}
	if len(r.Kvs) != 1 || string(r.Kvs[0].Value) != value {
		t.Fatalf("%s: got %v, want %s", key, r.Kvs, value)
	}
}

// journal is a log that a server may write to at any time.
type journal struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.out.Write(b)
}

// slow is how etcd complains of a machine that is busy or stands still for a while, which says nothing about how it was set
// up.
var slow = regexp.MustCompile(`took too long|taking too long|slow fdatasync|timed out|overloaded`)

// unexpected returns what was logged, without complaints of a slow machine.
func (j *journal) unexpected() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var lines []string
	for line := range strings.Lines(j.out.String()) {
		if !slow.MatchString(line) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

func TestRestart(t *testing.T) {
	out := &journal{}
	log := hclog.New(&hclog.LoggerOptions{Output: out, DisableTime: true})
	dir := filepath.Join(t.TempDir(), "not", "there", "yet")
	s := start(t, dir, log)
	c := dial(t, s.Endpoints()...)
	put(t, c, "a", "1")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatalf("closing again: %v", err)
	}
	start(t, dir, log)
	wantValue(t, c, "a", "1") // the client finds the new server by itself
	if text := out.unexpected(); text != "" {
		t.Errorf("a quiet life was logged:\n%s", text)
	}
	info, err := os.Stat(filepath.Join(dir, "etcd"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("others can look into the data: %v, %v", info.Mode(), err)
	}
}

func TestDataIsLocked(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, nil)
	if _, err := embedded.Start(t.Context(), dir, nil); fault.ReasonOf(err) != "DATA_DIR_IN_USE" || !fault.Is(err, fault.Precondition) {
		t.Fatalf("got %v", err)
	}
	put(t, dial(t, s.Endpoints()...), "a", "1") // the first is not disturbed
}

func TestLockDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	l, err := embedded.LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := embedded.LockDir(dir); fault.ReasonOf(err) != "DATA_DIR_IN_USE" {
		t.Fatalf("got %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = embedded.LockDir(dir); err != nil {
		t.Fatalf("after the first was closed: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := embedded.LockDir(file); err == nil {
		t.Fatal("a file was locked as a directory")
	}
}

func TestKill(t *testing.T) {
	dir := t.TempDir()
	var acknowledged []string
	for round := range 3 {
		endpoint, kill := child(t, dir)
		c := dial(t, endpoint)
		for _, key := range acknowledged {
			wantValue(t, c, key, "x")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		keys := 0
		for i := 0; ; i++ {
			key := fmt.Sprintf("%d-%d", round, i)
			_, err := c.Put(ctx, key, "x")
			if err != nil && (keys > 20 || ctx.Err() != nil) {
				break
			}
			if err != nil {
				continue // of a disk that is too slow; the server is not killed yet
			}
			acknowledged = append(acknowledged, key)
			if keys++; keys == 21 {
				kill()
			}
		}
		cancel()
		if keys <= 20 {
			t.Fatalf("killed after %d writes", keys)
		}
	}

	// The killed server's data moves: another path, too long for a socket and odd, and so another socket.
	moved := filepath.Join(t.TempDir(), "50 %?#", strings.Repeat("long", 40))
	if err := os.CopyFS(filepath.Join(moved, "etcd", "data"), os.DirFS(filepath.Join(dir, "etcd", "data"))); err != nil {
		t.Fatal(err)
	}
	s := start(t, moved, nil)
	c := dial(t, s.Endpoints()...)
	for _, key := range acknowledged {
		wantValue(t, c, key, "x")
	}
	put(t, c, "new", "1")
	socket := strings.TrimPrefix(s.Endpoints()[0], "unix://")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(socket)); !os.IsNotExist(err) {
		t.Errorf("the directory of the socket stays behind: %v", err)
	}
}

// child runs a server in a process of its own. kill is safe to call more than once.
func child(t *testing.T, dir string) (endpoint string, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestServeUntilKilled$")
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() { _ = cmd.Process.Kill() }
	t.Cleanup(func() {
		kill()
		_ = in.Close()
		_ = cmd.Wait() // reports the kill
	})
	if _, err := fmt.Fscanln(out, &endpoint); err != nil {
		t.Fatal(err)
	}
	return endpoint, kill
}

func TestNoNetworkPorts(t *testing.T) {
	s := start(t, t.TempDir(), nil)
	put(t, dial(t, s.Endpoints()...), "a", "1")
	for _, file := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Skip("no /proc")
		}
		inodes := ownSockets(t)
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) > 9 && f[3] == "0A" && inodes[f[9]] { // 0A: listening
				t.Errorf("listening on a network port: %s", f[1])
			}
		}
	}
	conn, err := net.Dial("unix", strings.TrimPrefix(s.Endpoints()[0], "unix://"))
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
}

// ownSockets returns the inodes of this process's sockets.
func ownSockets(t *testing.T) map[string]bool {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	inodes := map[string]bool{}
	for _, fd := range fds {
		link, err := os.Readlink("/proc/self/fd/" + fd.Name())
		if inode, ok := strings.CutPrefix(link, "socket:["); ok && err == nil {
			inodes[strings.TrimSuffix(inode, "]")] = true
		}
	}
	return inodes
}

func TestStartIsCancelled(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s, err := embedded.Start(ctx, dir, nil)
	if err == nil { // it was ready at once
		_ = s.Close()
	} else if !fault.Is(err, fault.Unavailable) {
		t.Fatal(err)
	}
	start(t, dir, nil)
}
