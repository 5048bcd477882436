package inspect

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// qemu runs qemu-img in a directory.
func qemu(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "qemu-img", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("qemu-img %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// needQEMU skips a test where qemu-img is not installed; in CI it has to be.
func needQEMU(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("qemu-img"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("no qemu-img program, which CI installs")
		}
		t.Skip("qemu-img is not installed")
	}
}

func lookAtFile(t *testing.T, path string) Finding {
	t.Helper()
	data, err := os.ReadFile(path) //nolint:gosec // a file of this test
	if err != nil {
		t.Fatal(err)
	}
	return look(data, 1<<20)
}

// What qemu-img makes is what it should be, in every format and with every option that is safe.
func TestImagesOfQEMU(t *testing.T) {
	t.Parallel()
	needQEMU(t)
	const size = 6 << 20 // not a whole number of any format's blocks but the smaller ones
	tests := []struct{ name, format, options string }{
		{"qcow2", "qcow2", ""},
		{"qcow2 version 2", "qcow2", "compat=0.10"},
		{"qcow2 zstd", "qcow2", "compression_type=zstd"},
		{"qcow2 lazy reference counts", "qcow2", "lazy_refcounts=on"},
		{"qcow2 extended L2", "qcow2", "extended_l2=on"},
		{"qcow2 smallest clusters", "qcow2", "cluster_size=512"},
		{"qcow2 largest clusters", "qcow2", "cluster_size=2M"},
		{"qcow2 wide reference counts", "qcow2", "refcount_bits=64"},
		{"vmdk", "vmdk", "subformat=monolithicSparse"},
		{"vmdk stream", "vmdk", "subformat=streamOptimized"},
		{"vhd dynamic", "vpc", "subformat=dynamic,force_size=on"},
		{"vhd fixed", "vpc", "subformat=fixed,force_size=on"},
		{"vhdx", "vhdx", ""},
		{"vhdx fixed", "vhdx", "subformat=fixed"},
		{"vdi", "vdi", ""},
		{"vdi static", "vdi", "static=on"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "raw"), append(noise(1<<20), make([]byte, size-1<<20)...), 0o600); err != nil {
				t.Fatal(err)
			}
			args := []string{"convert", "-f", "raw", "-O", test.format}
			if test.options != "" {
				args = append(args, "-o", test.options)
			}
			qemu(t, dir, append(args, "raw", "image")...)
			disk := strings.Replace(test.format, "vpc", "vhd", 1)
			f := lookAtFile(t, filepath.Join(dir, "image"))
			if err := f.Check(disk); err != nil || f.VirtualSize() != size {
				t.Errorf("%v; %+v of %d bytes", err, f, f.VirtualSize())
			}
			if err := f.Check("raw"); fault.ReasonOf(err) != ReasonMismatch {
				t.Errorf("as raw: %v", err)
			}
		})
	}
}

// An encrypted disk may be raw: that is how Cinder uploads its encrypted volumes. The header is kept, as qemu-img 7.2 wrote it
// (luks, 1 MiB): it refuses to write one where the clock of the CPU is too coarse to time its key derivation.
func TestEncryptedImageOfQEMU(t *testing.T) {
	t.Parallel()
	header, err := os.ReadFile(filepath.Join("testdata", "luks.header"))
	if err != nil {
		t.Fatal(err)
	}
	const payload = 0xfc8 * 512 // as the header says
	f := look(append(header, make([]byte, payload+1<<20-len(header))...), 1<<20)
	if got, _ := f.Format(); got != LUKS || f.Check("raw") != nil || f.VirtualSize() != f.Size {
		t.Errorf("%+v: %v", f, f.Check("raw"))
	}
}

// Images of qemu-img that depend on other files are refused, and so is qed.
func TestUnsafeImagesOfQEMU(t *testing.T) {
	t.Parallel()
	needQEMU(t)
	tests := []struct {
		name string
		args []string
	}{
		{"qcow2 with a backing file", []string{"create", "-f", "qcow2", "-F", "raw", "-b", "raw", "image"}},
		{"qcow2 with a data file", []string{"create", "-f", "qcow2", "-o", "data_file=other,data_file_raw=on", "image", "1M"}},
		{"qed", []string{"create", "-f", "qed", "image", "1M"}},
		{"vmdk with a parent", []string{"create", "-f", "vmdk", "-F", "vmdk", "-b", "parent", "image"}},
		{"vmdk flat", []string{"create", "-f", "vmdk", "-o", "subformat=monolithicFlat", "image", "1M"}},
		{"vmdk in two files", []string{"create", "-f", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", "image", "1M"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "raw"), make([]byte, 1<<20), 0o600); err != nil {
				t.Fatal(err)
			}
			qemu(t, dir, "create", "-f", "vmdk", "parent", "1M")
			qemu(t, dir, test.args...)
			if err := lookAtFile(t, filepath.Join(dir, "image")).Check("raw"); fault.ReasonOf(err) != ReasonUnsafe {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Snapshots inside an image are part of it.
func TestSnapshotsOfQEMU(t *testing.T) {
	t.Parallel()
	needQEMU(t)
	dir := t.TempDir()
	qemu(t, dir, "create", "-f", "qcow2", "image", "1T")
	qemu(t, dir, "snapshot", "-c", "one", "image")
	f := lookAtFile(t, filepath.Join(dir, "image"))
	if err := f.Check("qcow2"); err != nil || f.VirtualSize() != 1<<40 {
		t.Errorf("%v; %+v of %d bytes", err, f, f.VirtualSize())
	}
}
