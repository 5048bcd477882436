package replica

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/agent/internal/rbd/cephrbd"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// TestExtraObjectOnCeph puts an object where the image is zeroes while it is being filled, behind librbd's back: its object map
// does not know of it, so that reads give zeroes and a discard does not remove it. It is found before publishing, and goes.
func TestExtraObjectOnCeph(t *testing.T) {
	conf := os.Getenv("ATOLL_TEST_CEPH_CONF")
	if conf == "" || !cephrbd.Available {
		t.Skip("ATOLL_TEST_CEPH_CONF names no cluster")
	}
	command := func(tool string, args ...string) string {
		out, err := exec.CommandContext(t.Context(), tool, append([]string{"-c", conf, "-p", "images"}, args...)...).Output()
		if err != nil {
			t.Fatalf("%s %s: %v", tool, strings.Join(args, " "), err)
		}
		return string(out)
	}
	data := make([]byte, 3*manifest.ChunkSize) // the one in the middle stays empty
	_, _ = rand.Read(data[:manifest.ChunkSize])
	_, _ = rand.Read(data[2*manifest.ChunkSize:])
	cleanCeph(t, conf)
	hub := newFakeHub(t)
	c := hub.begin(conA, data)
	hub.change(func() { c.shown = 2 })
	s := newSite(t, hub)
	s.unhurried, s.patience = true, 10*patience
	pool := openCeph(t, conf)
	defer func() { _ = pool.Close() }()
	s.wrap = func(image.StoreID, rbd.Pool) rbd.Pool { return pool }
	s.begin()
	d := goalOf(goalPresent, 1, conA)
	d.Content.SizeBytes = int64(len(data))
	s.delta(d)
	s.until("all but the last chunk", func() bool {
		return s.view[string(img1)+"@"+st0].GetProgress().GetChunksContiguous() == 2
	})
	_, prefix, _ := strings.Cut(command("rbd", "info", hiddenName(img1)), "block_name_prefix: ")
	prefix, _, _ = strings.Cut(prefix, "\n")
	extra := fmt.Sprintf("%s.%016x", prefix, 1)
	file := filepath.Join(t.TempDir(), "extra")
	if err := os.WriteFile(file, []byte("extra"), 0o600); err != nil {
		t.Fatal(err)
	}
	command("rados", "put", extra, file)
	hub.change(func() { c.shown, c.complete = 3, true })
	r := s.await(isPresent, 1)
	s.stop()
	if r.Progress.ChunksRepaired != 1 {
		t.Errorf("%d chunks repaired, want 1", r.Progress.ChunksRepaired)
	}
	if strings.Contains(command("rados", "ls"), extra+"\n") {
		t.Error("the object is still there")
	}
}
