package filerbd_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/agent/internal/rbd/filerbd"
	"github.com/atoll-dcn/atoll/agent/internal/rbd/rbdtest"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

func open(t *testing.T, dir string) rbd.Pool {
	t.Helper()
	pool, err := filerbd.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pool.Close() })
	return pool
}

func TestConformance(t *testing.T) {
	dir := t.TempDir()
	clones := 0
	rbdtest.Run(t, func(t *testing.T) rbd.Pool { return open(t, dir) }, rbdtest.Options{
		Driver: "file",
		Clone: func(t *testing.T, image string) rbdtest.Clone {
			clones++
			home, err := filepath.EvalSymlinks(filepath.Join(dir, image))
			if err != nil {
				t.Fatal(err)
			}
			marker := filepath.Join(home, "children", "clone"+strings.Repeat("x", clones))
			if err := os.WriteFile(marker, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			return rbdtest.Clone{
				Read: func(t *testing.T, n int) []byte {
					f, err := os.Open(filepath.Join(home, "data"))
					if err != nil {
						t.Fatal(err)
					}
					p := make([]byte, n)
					_, err = io.ReadFull(f, p)
					if err = errors.Join(err, f.Close()); err != nil {
						t.Fatal(err)
					}
					return p
				},
				Delete: func(t *testing.T) {
					if err := os.Remove(marker); err != nil {
						t.Fatal(err)
					}
				},
			}
		},
	})
	left, err := os.ReadDir(filepath.Join(dir, ".images"))
	if err != nil || len(left) > 0 {
		t.Errorf("%d images were left behind (%v)", len(left), err)
	}
}

func TestOpenRefusesPaths(t *testing.T) {
	for _, dir := range []string{"", "relative", "/", "/../"} {
		if _, err := filerbd.Open(dir); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", dir, err)
		}
	}
}

func TestIDSurvives(t *testing.T) {
	dir := t.TempDir()
	first, err := open(t, dir).Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second, err := open(t, dir).Info(t.Context())
	if err != nil || second.FSID != first.FSID || len(first.FSID) != 36 {
		t.Errorf("ids %q and %q (%v)", first.FSID, second.FSID, err)
	}
	if first.Pool != filepath.Base(dir) || first.TotalBytes <= 0 {
		t.Errorf("info is %+v", first)
	}
}

func TestMissingDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	pool := open(t, dir)
	_, err := pool.Info(t.Context())
	if !fault.Is(err, fault.Precondition) || fault.ReasonOf(err) != "POOL_MISSING" {
		t.Fatalf("info: %v", err)
	}
	if strings.Contains(fault.Public(err), dir) {
		t.Errorf("the public text %q holds the path", fault.Public(err))
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Info(t.Context()); err != nil {
		t.Errorf("info after the directory appeared: %v", err)
	}
	img, err := pool.Create(t.Context(), "image", 1)
	if err != nil {
		t.Fatal(err)
	}
	_ = img.Close()
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	for what, call := range map[string]func() error{
		"info":   func() error { _, err := pool.Info(t.Context()); return err },
		"list":   func() error { _, err := pool.List(t.Context()); return err },
		"open":   func() error { _, err := pool.Open(t.Context(), "image"); return err },
		"create": func() error { _, err := pool.Create(t.Context(), "other", 1); return err },
		"remove": func() error { return pool.Remove(t.Context(), "image") },
	} {
		if err := call(); fault.ReasonOf(err) != "POOL_MISSING" {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestBadNames(t *testing.T) {
	pool := open(t, t.TempDir())
	for _, name := range []string{"", ".", "..", ".images", "a/b", "../x", strings.Repeat("n", 201), "a\x00b"} {
		if _, err := pool.Create(t.Context(), name, 1); !fault.Is(err, fault.Invalid) {
			t.Errorf("create %q: %v", name, err)
		}
		if _, err := pool.Open(t.Context(), name); !fault.Is(err, fault.Invalid) {
			t.Errorf("open %q: %v", name, err)
		}
		if err := pool.Remove(t.Context(), name); !fault.Is(err, fault.Invalid) {
			t.Errorf("remove %q: %v", name, err)
		}
	}
}

// TestSweep checks that what crashes leave behind goes, and what clones need stays until they are gone.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	pool := open(t, dir)
	for _, name := range []string{"kept", "parent", "half"} {
		img, err := pool.Create(t.Context(), name, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		_ = img.Close()
	}
	home := func(name string) string {
		path, err := filepath.EvalSymlinks(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	parent, half := home("parent"), home("half")
	marker := filepath.Join(parent, "children", "vm")
	if err := os.WriteFile(marker, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"parent", "half"} { // as if the process had died in the middle of Remove or Create
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	count := func() int {
		entries, err := os.ReadDir(filepath.Join(dir, ".images"))
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	open(t, dir)
	if _, err := os.Stat(half); !os.IsNotExist(err) || count() != 2 {
		t.Errorf("%d images after the sweep; half: %v", count(), err)
	}
	if err := os.Remove(marker); err != nil {
		t.Fatal(err)
	}
	if err := pool.Remove(t.Context(), "kept"); err != nil {
		t.Fatal(err)
	}
	if count() != 0 {
		t.Errorf("%d images are left", count())
	}
}

// TestNoSpace needs root, to make a small file system.
func TestNoSpace(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("CI is root and can mount: %v", err)
		}
		t.Skipf("cannot mount a file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	pool := open(t, dir)
	img, err := pool.Create(t.Context(), "image", 16<<20) // sparse: this takes no space
	if err != nil {
		t.Fatal(err)
	}
	err = img.WriteAt(t.Context(), make([]byte, 4<<20), 0)
	if !fault.Is(err, fault.Exhausted) || fault.ReasonOf(err) != "NO_SPACE" {
		t.Errorf("write: %v", err)
	}
	info, err := pool.Info(t.Context())
	if err != nil || info.TotalBytes != 1<<20 || info.FreeBytes != 0 {
		t.Errorf("info is %+v (%v)", info, err)
	}
	if err := errors.Join(img.Close(), pool.Remove(t.Context(), "image")); err != nil {
		t.Fatal(err)
	}
	if info, err = pool.Info(t.Context()); err != nil || info.FreeBytes < 1<<19 {
		t.Errorf("info after remove is %+v (%v)", info, err)
	}
}
