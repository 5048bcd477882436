package ctl

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// sparseData is 24 MiB of which little is not zero.
func sparseData() []byte {
	data := make([]byte, 24<<20+5)
	copy(data[100:], "start")
	copy(data[9<<20-3:], "across a boundary")
	return data
}

func TestDownloadToFile(t *testing.T) {
	h := furnish(t)
	data := sparseData()
	h.SetData(debian, data)
	path := filepath.Join(t.TempDir(), "debian.raw")
	r := atollctl(t, h, exitOK, "image", "download", "debian-12", path)
	has(t, r.err.String(), "image: complete (100%", "downloaded image "+debian+", 24 MiB")
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("%d bytes: %v", len(got), err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if sys, ok := info.Sys().(*syscall.Stat_t); !ok || sys.Blocks*512 > 1<<20 {
		t.Errorf("the file is not sparse: %+v", sys)
	}
	atollctl(t, h, exitConflict, "image", "download", "debian-12", path)
	h.SetData(debian, []byte("new"))
	atollctl(t, h, exitOK, "image", "download", "debian-12", path, "--force")
	if got, _ = os.ReadFile(path); string(got) != "new" {
		t.Errorf("after --force: %d bytes", len(got))
	}
	onlyFile(t, path)
}

// onlyFile fails the test if anything but path is in its directory.
func onlyFile(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != filepath.Base(path) {
			t.Errorf("left behind: %s", e.Name())
		}
	}
}

func TestDownloadIsChecked(t *testing.T) {
	h := furnish(t)
	h.SetData(debian, []byte("the right data"))
	h.Change(func() { h.Data[debian] = []byte("the wrong data") })
	path := filepath.Join(t.TempDir(), "debian.raw")
	r := atollctl(t, h, exitFailed, "image", "download", "debian-12", path)
	has(t, r.err.String(), "[HASH_MISMATCH]")
	h.Change(func() { h.Data[debian] = []byte("short") })
	has(t, atollctl(t, h, exitFailed, "image", "download", "debian-12", path).err.String(), "[SHORT_DOWNLOAD]")
	h.Fail("DownloadImage", fault.New(fault.Precondition, "NOT_ACTIVE", "the image is queued"))
	has(t, atollctl(t, h, exitConflict, "image", "download", "debian-12", path).err.String(), "[NOT_ACTIVE]")
	if _, err := os.Lstat(path); err == nil {
		t.Error("the file has appeared")
	}
	onlyFile(t, path)
	h.SetData(debian, []byte("data"))
	h.Change(func() { h.Images[debian].OsHashValue = "" })
	has(t, atollctl(t, h, exitOK, "image", "download", "debian-12", path).err.String(), "was not checked")
}

func TestDownloadToStandardOutput(t *testing.T) {
	h := furnish(t)
	data := sparseData()[:2<<20]
	h.SetData(debian, data)
	for _, args := range [][]string{{"image", "download", "debian-12"}, {"image", "download", "debian-12", "-"}} {
		if r := atollctl(t, h, exitOK, args...); r.out.String() != string(data) {
			t.Errorf("%d bytes", len(r.out.String()))
		}
	}
	r := &run{terminal: true}
	r.want(t, h, exitUsage, "image", "download", "debian-12")
	has(t, r.err.String(), "name a FILE")
}
