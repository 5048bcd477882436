//go:build cgo

package cephrbd_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// childEnv makes this test binary write to the image of that name and wait to be killed.
const childEnv = "ATOLL_TEST_CEPH_CHILD_IMAGE"

// writeAndWait is the process that TestKilledWriter kills.
func writeAndWait(t *testing.T, c cluster, name string) {
	t.Helper()
	config := c.config()
	config.ClientsFile = os.Getenv("ATOLL_TEST_CEPH_CHILD_CLIENTS")
	pool := c.open(t, config)
	img, err := pool.Create(t.Context(), name, 16<<20)
	if err == nil {
		err = img.WriteAt(t.Context(), []byte("old"), 0) // takes the exclusive lock
	}
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(os.Stdout, "written\n")
	select {}
}

// TestKilledWriter checks that the successor of a killed process can go on at once, both to write and to remove.
func TestKilledWriter(t *testing.T) {
	c := testCluster(t)
	if name := os.Getenv(childEnv); name != "" {
		writeAndWait(t, c, name)
	}
	config := c.config()
	config.ClientsFile = filepath.Join(t.TempDir(), "clients")

	const limit = 20 * time.Second // sooner than the cluster by itself finds out that a client is dead
	for _, then := range []string{"write", "remove"} {
		name := unique("killed")
		child := exec.Command(os.Args[0], "-test.run=^TestKilledWriter$")
		child.Env = append(os.Environ(), childEnv+"="+name, "ATOLL_TEST_CEPH_CHILD_CLIENTS="+config.ClientsFile)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		if line, _ := bufio.NewReader(out).ReadString('\n'); line != "written\n" {
			t.Errorf("the child said %q", line)
		}
		_ = child.Process.Kill()
		_ = child.Wait()

		pool := c.open(t, config)
		if then == "write" {
			img, err := pool.Open(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			err = within(t, limit, "the first write", func() error { return img.WriteAt(t.Context(), []byte("new"), 3) })
			if err != nil {
				t.Error(err)
			}
			got := make([]byte, 6)
			if err := img.ReadAt(t.Context(), got, 0); err != nil || string(got) != "oldnew" {
				t.Errorf("the image holds %q (%v)", got, err)
			}
			_ = img.Close()
		}
		err = within(t, limit, "remove", func() error { return pool.Remove(t.Context(), name) })
		if err != nil {
			t.Errorf("remove: %v", err)
		}
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(config.ClientsFile); !os.IsNotExist(err) {
			t.Errorf("the note of the clients is still there after an orderly end (%v)", err)
		}
	}
}

// TestClosedPool checks that a pool that was closed does not connect again.
func TestClosedPool(t *testing.T) {
	c := testCluster(t)
	pool := c.open(t, c.config())
	if _, err := pool.Info(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := pool.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := pool.Info(t.Context())
	wantFault(t, "info", err, fault.Precondition, "CLOSED")
}
