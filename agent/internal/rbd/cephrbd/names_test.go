//go:build cgo

package cephrbd_test

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

// rados runs the rados command on the pool, to make what a killed process leaves behind.
func (c cluster) rados(t *testing.T, args ...string) string {
	t.Helper()
	return c.command(t, "rados", append([]string{"-p", c.pool}, args...)...)
}

// copyObject copies a small RADOS object.
func (c cluster) copyObject(t *testing.T, from, to string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "object")
	c.rados(t, "get", from, file)
	c.rados(t, "put", to, file)
}

func (c cluster) imageID(t *testing.T, name string) string {
	t.Helper()
	info := c.command(t, "rbd", "info", c.pool+"/"+name)
	_, rest, _ := strings.Cut(info, "id: ")
	return strings.Fields(rest)[0]
}

// put makes an image with content and no open handle.
func put(t *testing.T, pool rbd.Pool, name string, content []byte) {
	t.Helper()
	img := newImage(t, pool, name, int64(len(content)))
	if err := img.WriteAt(t.Context(), content, 0); err != nil {
		t.Fatal(err)
	}
	if err := img.Close(); err != nil {
		t.Fatal(err)
	}
}

func wantContent(t *testing.T, pool rbd.Pool, name string, want []byte) {
	t.Helper()
	img, err := pool.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, img)
	got := make([]byte, len(want))
	if err := img.ReadAt(t.Context(), got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s holds other bytes (%v)", name, err)
	}
}

// wantAbsent checks that a name can neither be opened nor removed nor is listed.
func wantAbsent(t *testing.T, pool rbd.Pool, name string) {
	t.Helper()
	_, err := pool.Open(t.Context(), name)
	wantFault(t, "open", err, fault.NotFound, "IMAGE_NOT_FOUND")
	_, err = pool.OpenSnapshot(t.Context(), name)
	wantFault(t, "open snapshot", err, fault.NotFound, "IMAGE_NOT_FOUND")
	_, err = pool.Children(t.Context(), name)
	wantFault(t, "children", err, fault.NotFound, "IMAGE_NOT_FOUND")
	wantFault(t, "remove", pool.Remove(t.Context(), name), fault.NotFound, "IMAGE_NOT_FOUND")
	wantFault(t, "rename", pool.Rename(t.Context(), name, name+"-x"), fault.NotFound, "IMAGE_NOT_FOUND")
	names, err := pool.List(t.Context())
	if err != nil || slices.Contains(names, name) {
		t.Errorf("%s is listed (%v)", name, err)
	}
}

// TestRenameCutShort leaves an image with two names, as a process does that is killed while it renames: before the directory
// changed, the new name is the extra one; afterwards, the old one. The extra name must not lead to the image.
func TestRenameCutShort(t *testing.T) {
	c := testCluster(t)
	pool := c.open(t, c.config())
	content := []byte("published")

	t.Run("before", func(t *testing.T) {
		from, to := unique("from"), unique("to")
		put(t, pool, from, content)
		c.copyObject(t, "rbd_id."+from, "rbd_id."+to)
		wantAbsent(t, pool, to)
		wantContent(t, pool, from, content)
		if err := pool.Rename(t.Context(), from, to); err != nil {
			t.Fatalf("rename again: %v", err)
		}
		wantAbsent(t, pool, from)
		wantContent(t, pool, to, content)
		if err := pool.Remove(t.Context(), to); err != nil {
			t.Error(err)
		}
	})
	t.Run("after", func(t *testing.T) {
		from, to := unique("from"), unique("to")
		put(t, pool, from, content)
		if err := pool.Rename(t.Context(), from, to); err != nil {
			t.Fatal(err)
		}
		c.copyObject(t, "rbd_id."+to, "rbd_id."+from)
		wantAbsent(t, pool, from)
		wantContent(t, pool, to, content)
		put(t, pool, from, []byte("another")) // the old name can be used again
		wantContent(t, pool, to, content)
		wantContent(t, pool, from, []byte("another"))
		if err := pool.Remove(t.Context(), from); err != nil {
			t.Error(err)
		}
		wantContent(t, pool, to, content)
		if err := pool.Remove(t.Context(), to); err != nil {
			t.Error(err)
		}
	})
}

// TestWrecks leaves images that are partly there, as a process does that is killed while it creates or removes one.
func TestWrecks(t *testing.T) {
	c := testCluster(t)
	pool := c.open(t, c.config())
	for _, w := range []struct {
		name   string
		listed bool
		wreck  func(t *testing.T, name, id string)
	}{
		{"no header", true, func(t *testing.T, _, id string) { c.rados(t, "rm", "rbd_header."+id) }},
		{"listed only", true, func(t *testing.T, name, id string) {
			c.rados(t, "rm", "rbd_header."+id)
			c.rados(t, "rm", "rbd_id."+name)
		}},
		{"id object only", false, func(t *testing.T, name, id string) {
			c.rados(t, "rm", "rbd_header."+id)
			c.rados(t, "rmomapkey", "rbd_directory", "name_"+name)
			c.rados(t, "rmomapkey", "rbd_directory", "id_"+id)
		}},
	} {
		for _, then := range []string{"create", "remove", "rename"} {
			t.Run(w.name+", then "+then, func(t *testing.T) {
				name := unique("wreck")
				put(t, pool, name, []byte("old"))
				w.wreck(t, name, c.imageID(t, name))
				_, err := pool.Open(t.Context(), name)
				wantFault(t, "open", err, fault.NotFound, "IMAGE_NOT_FOUND")
				switch then {
				case "create":
					put(t, pool, name, []byte("new"))
					wantContent(t, pool, name, []byte("new"))
				case "rename":
					other := unique("other")
					put(t, pool, other, []byte("other"))
					if err := pool.Rename(t.Context(), other, name); err != nil {
						t.Fatal(err)
					}
					wantContent(t, pool, name, []byte("other"))
				case "remove":
					err := pool.Remove(t.Context(), name)
					if w.listed && err != nil || !w.listed && !fault.Is(err, fault.NotFound) {
						t.Fatalf("remove: %v", err)
					}
					wantAbsent(t, pool, name)
				}
			})
		}
	}
}

// TestChildrenElsewhere counts clones in a pool that the agent's key cannot read.
func TestChildrenElsewhere(t *testing.T) {
	c := testCluster(t)
	const vms = "rbdtest-vms"
	c.command(t, "ceph", "osd", "pool", "create", vms, "8", "8")
	c.command(t, "ceph", "osd", "pool", "application", "enable", vms, "rbd")
	t.Cleanup(func() { c.command(t, "ceph", "osd", "pool", "rm", vms, vms, "--yes-i-really-really-mean-it") })
	pool := c.open(t, c.config())
	name := unique("parent")
	publish := func() {
		t.Helper()
		img := newImage(t, pool, name, 4<<20)
		for _, step := range []func() error{
			func() error { return img.WriteAt(t.Context(), []byte("parent"), 0) },
			func() error { return img.CreateSnapshot(t.Context()) },
			func() error { return img.ProtectSnapshot(t.Context()) },
			img.Close,
		} {
			if err := step(); err != nil {
				t.Fatal(err)
			}
		}
	}
	wantChildren := func(want int) {
		t.Helper()
		if n, err := pool.Children(t.Context(), name); err != nil || n != want {
			t.Fatalf("%d children (%v), want %d", n, err, want)
		}
	}
	publish()
	wantChildren(0)
	first, second := c.clone(t, name, vms), c.clone(t, name, vms)
	wantChildren(2)
	first.Delete(t)
	wantChildren(1)
	old := vms + "/" + unique("old-format")
	c.command(t, "rbd", "clone", "--rbd-default-clone-format", "1", c.pool+"/"+name+"@snap", old)
	wantChildren(1) // the old format is seen only as long as there is nothing else
	second.Delete(t)
	wantChildren(1)

	// Removed although the clone is there: out of sight, whole for the clone, and gone some time after it.
	if err := pool.Remove(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	wantAbsent(t, pool, name)
	out, err := exec.Command("rbd", "-c", c.conf, "export", "--no-progress", old, "-").Output()
	if err != nil || !bytes.HasPrefix(out, []byte("parent")) {
		t.Errorf("the clone cannot be read (%v)", err)
	}
	trashed := func() bool { return strings.Contains(c.command(t, "rbd", "trash", "ls", c.pool), name) }
	if !trashed() {
		t.Error("the image is not in the trash")
	}
	c.command(t, "rbd", "rm", "--no-progress", old)
	publish()
	if err := pool.Remove(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if trashed() {
		t.Error("the image stays in the trash without clones")
	}
}

// TestForeignTrash checks that what others put into the trash stays there.
func TestForeignTrash(t *testing.T) {
	c := testCluster(t)
	pool := c.open(t, c.config())
	theirs, ours := unique("theirs"), unique("ours")
	put(t, pool, theirs, []byte("precious"))
	id := c.imageID(t, theirs)
	c.command(t, "rbd", "trash", "mv", c.pool+"/"+theirs)
	put(t, pool, ours, []byte("x"))
	if err := pool.Remove(t.Context(), ours); err != nil {
		t.Fatal(err)
	}
	c.command(t, "rbd", "trash", "restore", "-p", c.pool, id)
	wantContent(t, pool, theirs, []byte("precious"))
}

func TestBadNames(t *testing.T) {
	c := testCluster(t)
	pool := c.open(t, c.config())
	for _, name := range []string{"", strings.Repeat("n", 201)} {
		for what, err := range map[string]error{
			"rename from": pool.Rename(t.Context(), name, "x"),
			"rename to":   pool.Rename(t.Context(), "x", name),
			"remove":      pool.Remove(t.Context(), name),
		} {
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("%s %q: %v", what, name, err)
			}
		}
	}
}
