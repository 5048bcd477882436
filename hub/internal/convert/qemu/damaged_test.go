package qemu

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/hub/internal/convert"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/inspect"
)

// made returns an image that qemu-img makes of a disk.
func made(t *testing.T, driver, options string, disk []byte) []byte {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "raw"), disk, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"convert", "-f", "raw", "-O", driver}
	if options != "" {
		args = append(args, "-o", options)
	}
	qemu(t, dir, append(args, "raw", "image")...)
	image, err := os.ReadFile(filepath.Join(dir, "image"))
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// forms are those of images that are accepted.
var forms = []struct{ name, driver, options string }{
	{"vmdk", "vmdk", "subformat=monolithicSparse"},
	{"vmdk stream", "vmdk", "subformat=streamOptimized"},
	{"vhd dynamic", "vpc", "subformat=dynamic,force_size=on"},
	{"vhd fixed", "vpc", "subformat=fixed,force_size=on"},
	{"vhdx", "vhdx", "block_size=1048576"},
	{"vhdx fixed", "vhdx", "subformat=fixed"},
	{"vdi", "vdi", ""},
	{"vdi static", "vdi", "static=on"},
}

// convertBytes converts an image in memory.
func convertBytes(t *testing.T, c *Converter, driver string, image []byte, virtual int64) (disk []byte, err error) {
	t.Helper()
	got := &sunk{most: virtual}
	err = c.Convert(t.Context(), strings.Replace(driver, "vpc", "vhd", 1), bytes.NewReader(image), int64(len(image)), virtual, got)
	return got.data.Bytes(), err
}

// An image that is cut off anywhere is refused, or nothing that the disk has was in what is missing.
func TestTruncated(t *testing.T) {
	t.Parallel()
	haveQEMU(t)
	c := newConverter(t, Options{Time: time.Minute})
	disk := make([]byte, 6<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(disk[:5<<20+100])
	for _, form := range forms {
		t.Run(form.name, func(t *testing.T) {
			t.Parallel()
			image := made(t, form.driver, form.options, disk)
			cuts := []int{1, 100, 512, 1536, 64 << 10, 64<<10 + 1, 1 << 20, 3 << 20, len(image) - 512, len(image) - 100, len(image)}
			refused := 0
			for _, cut := range cuts {
				got, err := convertBytes(t, c, form.driver, image[:len(image)-cut], int64(len(disk)))
				switch {
				case err != nil && fault.ReasonOf(err) != convert.ReasonDamaged:
					t.Errorf("%d bytes less: %v", cut, err)
				case err != nil:
					refused++
				case !bytes.Equal(got, disk):
					t.Errorf("%d bytes less: another disk", cut)
				}
			}
			if refused < 3 {
				t.Errorf("%d of %d are refused", refused, len(cuts))
			}
		})
	}
}

// A disk that qemu-img takes for longer or shorter than the inspector does is refused.
func TestOtherSize(t *testing.T) {
	t.Parallel()
	haveQEMU(t)
	c := newConverter(t, Options{})
	for _, form := range forms {
		t.Run(form.name, func(t *testing.T) {
			t.Parallel()
			const size = 2 << 20
			image := made(t, form.driver, form.options, pattern(size))
			for _, virtual := range []int64{0, 512, size - 512, size + 512, 2 * size, 1 << 50} {
				if _, err := convertBytes(t, c, form.driver, image, virtual); fault.ReasonOf(err) != convert.ReasonDamaged {
					t.Errorf("%d bytes: %v", virtual, err)
				}
			}
			if _, err := convertBytes(t, c, form.driver, image, size); err != nil {
				t.Error(err)
			}
		})
	}
}

// Whatever the data of an image says, its conversion ends, with a disk of the size that was found or with a reason.
func TestDamaged(t *testing.T) {
	t.Parallel()
	haveQEMU(t)
	c := newConverter(t, Options{CPU: time.Minute})
	const size = 3 << 20
	for _, form := range forms {
		t.Run(form.name, func(t *testing.T) {
			t.Parallel()
			image := made(t, form.driver, form.options, pattern(size))
			random := rand.New(rand.NewPCG(1, uint64(len(form.name))))
			passed := 0
			for range 25 {
				bad := bytes.Clone(image)
				for range 1 + random.IntN(8) { // mostly where the tables are
					at := random.IntN(min(len(bad), []int{512, 4096, 2 << 20, len(bad)}[random.IntN(4)]))
					bad[at] = byte(random.Uint32())
				}
				in := inspect.Inspector{}
				_, _ = in.Write(bad)
				f := in.Finish()
				virtual := f.VirtualSize()
				if f.Check(strings.Replace(form.driver, "vpc", "vhd", 1)) != nil || virtual > 1<<30 {
					continue // qemu-img never sees it
				}
				passed++
				got := &sunk{count: true, most: virtual}
				err := c.Convert(t.Context(), strings.Replace(form.driver, "vpc", "vhd", 1), bytes.NewReader(bad), int64(len(bad)), virtual, got)
				switch reason := fault.ReasonOf(err); {
				case err == nil && got.size != virtual:
					t.Errorf("%d bytes of %d", got.size, virtual)
				case err != nil && reason != convert.ReasonDamaged && reason != convert.ReasonLimit:
					t.Errorf("%v [%s]", err, reason)
				}
			}
			t.Logf("%d of 25 came as far as qemu-img", passed)
		})
	}
}

// A small image of a large disk ends where the sink wants no more.
func TestBomb(t *testing.T) {
	t.Parallel()
	haveQEMU(t)
	c := newConverter(t, Options{})
	const size = 64 << 20
	image := made(t, "vmdk", "subformat=streamOptimized", bytes.Repeat([]byte("bomb"), size/4))
	if len(image) > size/50 {
		t.Fatalf("%d bytes are no bomb", len(image))
	}
	got := &sunk{count: true, most: 5 << 20}
	err := c.Convert(t.Context(), "vmdk", bytes.NewReader(image), int64(len(image)), size, got)
	if err != errFull || got.size > 10<<20 { //nolint:errorlint // the sink's own
		t.Errorf("%v after %d bytes", err, got.size)
	}
}
