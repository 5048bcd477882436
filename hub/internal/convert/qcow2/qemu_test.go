package qcow2

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/hub/internal/convert"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

// needQEMU skips a test where the programs are not installed; in CI they have to be.
func needQEMU(t *testing.T) {
	t.Helper()
	for _, name := range []string{"qemu-img", "qemu-io"} {
		if _, err := exec.LookPath(name); err == nil {
			continue
		}
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is not installed", name)
		}
		t.Skipf("%s is not installed", name)
	}
}

// run runs one of the programs in a directory.
func run(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...) //nolint:gosec // programs named by these tests
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil || bytes.Contains(out, []byte("failed")) {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// likeQEMU compares the disk of "image" in a directory with what qemu-img reads.
func likeQEMU(t *testing.T, dir string) *disk {
	t.Helper()
	run(t, dir, "qemu-img", "convert", "-f", "qcow2", "-O", "raw", "image", "raw.out")
	want, err := os.ReadFile(filepath.Join(dir, "raw.out")) //nolint:gosec // a file of this test
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "image")) //nolint:gosec // a file of this test
	if err != nil {
		t.Fatal(err)
	}
	d, err := read(t.Context(), source(data), 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	same(t, d.Bytes(), want)
	return d
}

// rawDisk has noise, text, holes of several sizes and a tail that fills no cluster.
func rawDisk(size int) []byte {
	p := make([]byte, size)
	copy(p[100:], noise(300<<10, 1))
	copy(p[1<<20:], text(2<<20+777, 2))
	copy(p[5<<20-5000:], noise(70<<10, 3))
	copy(p[7<<20:], text(5<<20, 4))
	copy(p[size-3000:], noise(3000, 5))
	return p
}

// options are those of qemu-img that change how qcow2 data is laid out.
var options = []string{
	"compat=0.10", "compat=1.1", "compat=0.10,cluster_size=4k", "lazy_refcounts=on", "compression_type=zstd", "extended_l2=on",
	"extended_l2=on,cluster_size=16k", "extended_l2=on,cluster_size=2M", "extended_l2=on,compression_type=zstd", "cluster_size=512",
	"cluster_size=1k", "cluster_size=4k", "cluster_size=32k", "cluster_size=1M", "cluster_size=2M", "refcount_bits=1", "refcount_bits=64",
	"cluster_size=512,compression_type=zstd", "cluster_size=2M,compression_type=zstd",
}

// Every layout that qemu-img converts to is the disk that it was made of, with and without compression, in order and out of it.
func TestConvertedByQEMU(t *testing.T) {
	t.Parallel()
	needQEMU(t)
	raw := rawDisk(9<<20 + 512)
	for i, option := range options {
		for _, how := range []string{[]string{"", "-W", "-S 0"}[i%3], []string{"-c", "-c -W -m 8"}[i%2]} {
			t.Run(option+" "+how, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				if err := os.WriteFile(filepath.Join(dir, "raw"), raw, 0o600); err != nil {
					t.Fatal(err)
				}
				args := append([]string{"convert", "-f", "raw", "-O", "qcow2", "-o", option}, strings.Fields(how)...)
				run(t, dir, "qemu-img", append(args, "raw", "image")...)
				data, err := os.ReadFile(filepath.Join(dir, "image")) //nolint:gosec // a file of this test
				if err != nil {
					t.Fatal(err)
				}
				d, err := read(t.Context(), source(data), 1<<30)
				if err != nil {
					t.Fatal(err)
				}
				same(t, d.Bytes(), raw)
			})
		}
	}
}

// written are commands of qemu-io that leave all kinds of clusters and subclusters: parts of clusters, zeroes over data and over
// nothing, discarded data, and data over those.
var written = [][]string{
	{"write -P 1 0 512", "write -P 2 3000 200", "write -P 3 65000 1000", "write -z 40k 30k", "write -P 4 1M 1M", "write -z 1200k 33k"},
	{"discard 1300k 300k", "write -P 6 4194000 1000", "write -z 6M 2M", "write -P 7 7000k 6k", "write -P 8 8M 70000", "discard 8M 900k"},
	{"write -z -u 1700k 64k", "write -P 5 1720k 2k", "write -P 9 8500k 1", "write -P 11 5300k 3k", "write -P 12 9200k 10k"},
}

// Images that were written to in every way are what qemu-img says, also with snapshots and bitmaps in them.
func TestWrittenByQEMU(t *testing.T) {
	t.Parallel()
	needQEMU(t)
	for _, option := range append(options, "preallocation=metadata", "preallocation=full", "preallocation=falloc",
		"extended_l2=on,preallocation=metadata", "compat=0.10,preallocation=metadata") {
		if strings.Contains(option, "compression_type") {
			continue // nothing is compressed here
		}
		t.Run(option, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			run(t, dir, "qemu-img", "create", "-f", "qcow2", "-o", option, "image", "9210k")
			for i, commands := range written {
				if i == 1 && option != "refcount_bits=1" {
					run(t, dir, "qemu-img", "snapshot", "-c", "before", "image")
				}
				args := []string{"-f", "qcow2"}
				for _, command := range commands {
					args = append(args, "-c", command)
				}
				run(t, dir, "qemu-io", append(args, "image")...)
			}
			likeQEMU(t, dir)
			if !strings.Contains(option, "compat=0.10") && option != "refcount_bits=1" {
				run(t, dir, "qemu-img", "snapshot", "-a", "before", "image")
				run(t, dir, "qemu-img", "bitmap", "--add", "image", "b")
				run(t, dir, "qemu-img", "resize", "image", "20M")
				likeQEMU(t, dir)
			}
		})
	}
}

// A disk of plain, compressed and no clusters is read, and what was written while the guest ran and was never closed.
func TestMixedByQEMU(t *testing.T) {
	t.Parallel()
	needQEMU(t)
	for _, compression := range []string{"zlib", "zstd"} {
		dir := t.TempDir()
		run(t, dir, "qemu-img", "create", "-f", "qcow2", "-o", "lazy_refcounts=on,compression_type="+compression, "image", "9M")
		run(t, dir, "qemu-io", "-f", "qcow2", "-c", "write -c -P 2 1M 64k", "-c", "write -c -P 3 1088k 64k",
			"-c", "write -c -P 5 3M 64k", "image")
		cmd := exec.CommandContext(t.Context(), "qemu-io", "-f", "qcow2", "-c", "write -P 1 0 100k", "-c", "write -P 4 1152k 64k",
			"-c", "write -P 6 3100k 1k", "-c", "flush", "-c", "sigraise 9", "image") //nolint:gosec // a program named by this test
		cmd.Dir = dir
		if err := cmd.Run(); err == nil {
			t.Error("qemu-io has closed the image")
		}
		if d := likeQEMU(t, dir); d.writes != 1 || d.zeroes != 1 {
			t.Errorf("%d writes and %d runs of zeroes", d.writes, d.zeroes)
		}
	}
}

// Images that were cut short are refused, but where "qemu-img check" finds nothing wrong they are what qemu-img reads.
func TestCutLikeQEMU(t *testing.T) {
	t.Parallel()
	needQEMU(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "raw"), noise(3<<20, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", "raw", "whole")
	data, err := os.ReadFile(filepath.Join(dir, "whole")) //nolint:gosec // a file of this test
	if err != nil {
		t.Fatal(err)
	}
	for cut, good := range map[int]bool{512: true, 4096: true, 65024: true, 65536: false, 66048: false, 1 << 20: false, 513: false, 1: false} {
		if err := os.WriteFile(filepath.Join(dir, "image"), data[:len(data)-cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if good {
			run(t, dir, "qemu-img", "check", "-f", "qcow2", "image")
			likeQEMU(t, dir)
			continue
		}
		if _, err := read(t.Context(), source(data[:len(data)-cut]), 1<<30); fault.ReasonOf(err) != convert.ReasonDamaged {
			t.Errorf("without %d bytes: %v", cut, err)
		}
	}
}
