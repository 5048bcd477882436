package qemu

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/pkg/inspect"
)

// haveQEMU skips a test where qemu-img is absent, but not in CI.
func haveQEMU(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("qemu-img"); err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("qemu-img is not installed")
	}
	t.Skip("qemu-img is not installed")
}

// qemu runs qemu-img in a directory.
func qemu(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "qemu-img", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("qemu-img %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// sunk keeps what a sink got: data to compare or, for huge disks, only how much of what.
type sunk struct {
	mu           sync.Mutex
	data         bytes.Buffer
	zeroes, size int64
	count        bool
	most         int64 // fails beyond
}

var errFull = errors.New("the sink is full")

func (s *sunk) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.size += int64(len(p)); s.most > 0 && s.size > s.most {
		return 0, errFull
	}
	if !s.count {
		s.data.Write(p)
	}
	return len(p), nil
}

func (s *sunk) Zero(n int64) error {
	if n <= 0 {
		return fmt.Errorf("Zero(%d)", n)
	}
	s.mu.Lock()
	s.zeroes += n
	s.mu.Unlock()
	if s.count {
		s.size += n
		return nil
	}
	_, err := s.Write(make([]byte, n))
	return err
}

// pattern is a disk of size bytes: noise, zeroes, text and short runs of both.
func pattern(size int) []byte {
	p := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(size)})
	fill := func(from, to int) {
		if from < len(p) {
			_, _ = r.Read(p[from:min(to, len(p))])
		}
	}
	fill(0, 1<<20)
	fill(3<<20, 3<<20+700)
	fill(5<<20-100, 9<<20+3)
	for i := 12 << 20; i < min(size, 14<<20); i += 8192 {
		fill(i, i+4096)
	}
	for i := 15 << 20; i < min(size, 16<<20); i++ {
		p[i] = "compress me "[i%12]
	}
	return p
}

func newConverter(t *testing.T, o Options) *Converter {
	t.Helper()
	o.Log = hclog.New(&hclog.LoggerOptions{Output: t.Output(), Level: hclog.Debug})
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// look returns what the inspector says about a file.
func look(t *testing.T, f *os.File) inspect.Finding {
	t.Helper()
	i := &inspect.Inspector{}
	if _, err := io.Copy(i, f); err != nil {
		t.Fatal(err)
	}
	return i.Finish()
}

// What qemu-img makes in every format and with every option comes out as when it converts files, and as the disk was.
func TestConvert(t *testing.T) {
	t.Parallel()
	haveQEMU(t)
	c := newConverter(t, Options{})
	const mib = 1 << 20
	tests := []struct {
		name, format, options string
		size                  int
	}{
		{"vmdk", "vmdk", "subformat=monolithicSparse", 24 * mib},
		{"vmdk odd", "vmdk", "subformat=monolithicSparse", 17*mib + 1536},
		{"vmdk stream", "vmdk", "subformat=streamOptimized", 24 * mib},
		{"vmdk stream odd", "vmdk", "subformat=streamOptimized", 13*mib + 512},
		{"vhd dynamic", "vpc", "subformat=dynamic,force_size=on", 24 * mib},
		{"vhd dynamic odd", "vpc", "subformat=dynamic,force_size=on", 16*mib + 512},
		{"vhd dynamic by geometry", "vpc", "subformat=dynamic", 20*mib + 512},
		{"vhd fixed", "vpc", "subformat=fixed,force_size=on", 24 * mib},
		{"vhd fixed by geometry", "vpc", "subformat=fixed", 15*mib + 512},
		{"vhdx", "vhdx", "", 24 * mib},
		{"vhdx odd", "vhdx", "block_size=1048576", 13*mib + 512},
		{"vhdx fixed", "vhdx", "subformat=fixed", 24 * mib},
		{"vdi", "vdi", "", 24 * mib},
		{"vdi odd", "vdi", "", 16*mib + 512},
		{"vdi static", "vdi", "static=on", 13 * mib},
		{"qcow2", "qcow2", "", 24 * mib},
		{"one sector", "vmdk", "", 512},
		{"zeroes only", "vmdk", "subformat=streamOptimized", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			disk := pattern(test.size)
			if test.size == 0 {
				disk = make([]byte, 3*mib)
			}
			if err := os.WriteFile(filepath.Join(dir, "raw"), disk, 0o600); err != nil {
				t.Fatal(err)
			}
			args := []string{"convert", "-f", "raw", "-O", test.format}
			if test.options != "" {
				args = append(args, "-o", test.options)
			}
			qemu(t, dir, append(args, "raw", "image")...)
			check(t, c, dir, test.format, disk)
		})
	}
}

// check converts the file image in a directory and compares the disk with what qemu-img makes of it.
func check(t *testing.T, c *Converter, dir, driver string, disk []byte) {
	t.Helper()
	qemu(t, dir, "convert", "-f", driver, "-O", "raw", "image", "direct")
	direct, err := os.ReadFile(filepath.Join(dir, "direct"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	stat, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	format := strings.Replace(driver, "vpc", "vhd", 1)
	finding := look(t, f)
	if err := finding.Check(format); err != nil {
		t.Fatal(err)
	}
	got := &sunk{}
	if err := c.Convert(t.Context(), format, f, stat.Size(), finding.VirtualSize(), got); err != nil {
		t.Fatal(err)
	}
	switch {
	case !bytes.Equal(got.data.Bytes(), direct):
		t.Errorf("%d bytes differ from the %d of qemu-img", got.data.Len(), len(direct))
	case !bytes.HasPrefix(direct, disk):
		t.Error("the disk differs")
	}
	t.Logf("%d bytes, %d of them zeroes", got.size, got.zeroes)
}

// Huge disks without data take no time, but where qemu-img looks at every zero.
func TestHuge(t *testing.T) {
	t.Parallel()
	haveQEMU(t)
	c := newConverter(t, Options{})
	for _, test := range []struct{ format, options, size string }{
		{"vmdk", "", "1T"}, {"vmdk", ",subformat=streamOptimized", "64G"}, {"vdi", "", "1T"}, {"vpc", ",force_size=on", "1T"}, {"vhdx", "", "16G"},
	} {
		t.Run(test.format+" "+test.options, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			qemu(t, dir, "create", "-q", "-f", test.format, "-o", "size="+test.size+test.options, "image")
			f, err := os.Open(filepath.Join(dir, "image"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = f.Close() }()
			finding := look(t, f)
			got := &sunk{count: true}
			if err := c.Convert(t.Context(), strings.Replace(test.format, "vpc", "vhd", 1), f, finding.Size, finding.VirtualSize(), got); err != nil {
				t.Fatal(err)
			}
			if got.size != finding.VirtualSize() || got.zeroes != got.size {
				t.Errorf("%d bytes of %d, %d zeroes", got.size, finding.VirtualSize(), got.zeroes)
			}
		})
	}
}
