package osinfo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
)

// bases are small disks with debian 12 on them, with linked files, an indexed and a full directory. gpt and dos hold ext4 in the
// second and the second logical partition.
var bases = []string{"ext4", "ext2", "xfs", "gpt", "dos"}

// base returns a disk of testdata.
func base(tb testing.TB, name string) []byte {
	tb.Helper()
	packed, err := os.ReadFile("testdata/" + name + ".zst")
	if err != nil {
		tb.Fatal(err)
	}
	z, err := zstd.NewReader(nil)
	if err != nil {
		tb.Fatal(err)
	}
	defer z.Close()
	disk, err := z.DecodeAll(packed, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return disk
}

// watched is a disk that knows which of its sectors were read, and how many bytes.
type watched struct {
	data []byte
	read map[int64]bool
	n    int64
}

func (w *watched) ReadAt(p []byte, off int64) (int, error) {
	w.n += int64(len(p))
	if w.read != nil {
		for at := off / 512; at*512 < off+int64(len(p)); at++ {
			w.read[at] = true
		}
	}
	return bytes.NewReader(w.data).ReadAt(p, off)
}

func (w *watched) look(tb testing.TB) string {
	w.n = 0
	distro, version := Detect(tb.Context(), w, int64(len(w.data)))
	if w.n > maxBytes {
		tb.Errorf("%d bytes were read", w.n)
	}
	return strings.TrimSpace(distro + " " + version)
}

// TestEveryByte changes every byte that is read, one at a time and in several ways: whatever comes of it, it is no wrong answer.
func TestEveryByte(t *testing.T) {
	t.Parallel()
	for _, name := range bases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &watched{data: base(t, name), read: map[int64]bool{}}
			if got := w.look(t); got != "debian 12" {
				t.Fatalf("got %q", got)
			}
			if w.n > 1<<20 {
				t.Errorf("%d bytes were read of a small disk", w.n)
			}
			sectors := w.read
			w.read = nil
			text := bytes.Index(w.data, []byte("PRETTY_NAME"))
			for sector := range sectors {
				if partitioned := name == "gpt" || name == "dos"; partitioned && sector >= 2048 {
					continue // the same file system as in ext4
				}
				for at := int(sector * 512); at < int(sector+1)*512; at++ {
					if at >= text && at < text+len(debian) {
						continue // another text is another answer
					}
					was := w.data[at]
					for _, b := range []byte{^was, was ^ 1} {
						if w.data[at] = b; b == was {
							continue
						}
						if got := w.look(t); got != "" && got != "debian 12" {
							t.Errorf("byte %d from %#x to %#x: %q", at, was, b, got)
						}
					}
					w.data[at] = was
				}
			}
		})
	}
}

// TestCutDisks ends the disk everywhere, and the reads.
func TestCutDisks(t *testing.T) {
	for _, name := range bases {
		disk := base(t, name)
		for n := 0; n < len(disk); n += 509 * 64 {
			if got := lookAt(t, disk[:n]); got != "" && got != "debian 12" {
				t.Errorf("%s: %d bytes: %q", name, n, got)
			}
			distro, _ := Detect(t.Context(), bytes.NewReader(disk[:n]), int64(len(disk)))
			if distro != "" && distro != "debian" {
				t.Errorf("%s: reads end at %d: %q", name, n, distro)
			}
		}
		for _, n := range []int64{0, -1, 511, 1 << 62} {
			if distro, _ := Detect(t.Context(), bytes.NewReader(disk), n); n < 512 && distro != "" {
				t.Errorf("%s: %d bytes: %q", name, n, distro)
			}
		}
	}
}

func TestReadsFail(t *testing.T) {
	broken := io.NewSectionReader(readerAt{iotest.ErrReader(errors.New("broken"))}, 0, 1<<30)
	if distro, version := Detect(t.Context(), broken, 1<<30); distro != "" || version != "" {
		t.Errorf("got %q, %q", distro, version)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if distro, version := Detect(ctx, bytes.NewReader(base(t, "ext4")), 512<<10); distro != "" || version != "" {
		t.Errorf("cancelled: %q, %q", distro, version)
	}
}

// readerAt reads the same everywhere.
type readerAt struct{ io.Reader }

func (r readerAt) ReadAt(p []byte, _ int64) (int, error) { return r.Read(p) }

// TestEmptyAndUnknownDisks have no system that is read.
func TestEmptyAndUnknownDisks(t *testing.T) {
	at := func(off int, text string) []byte {
		d := make([]byte, 1<<20)
		copy(d[off:], text)
		return d
	}
	for name, disk := range map[string][]byte{
		"zeroes": at(0, ""), "LUKS": at(0, "LUKS\xba\xbe\x00\x02"), "LVM": at(512, "LABELONE"), "btrfs": at(0x10040, "_BHRfS_M"),
		"only a signature": at(510, "\x55\xaa"), "text": bytes.Repeat([]byte("ID=debian\n"), 1e5), "ext and nothing": at(1024+56, "\x53\xef"),
		"XFS and nothing": at(0, "XFSB"),
	} {
		if got := lookAt(t, disk); got != "" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestExtentTrees follows trees that are none.
func TestExtentTrees(t *testing.T) {
	node := func(depth, count int, recs ...uint32) []byte {
		b := make([]byte, 60)
		le.PutUint16(b, extentMagic)
		le.PutUint16(b[2:], uint16(count))
		le.PutUint16(b[6:], uint16(depth))
		for i, r := range recs {
			le.PutUint32(b[12+4*i:], r)
		}
		return b
	}
	disk := make([]byte, 16<<10)
	copy(disk[5<<10:], node(1, 1, 0, 5)) // points to itself
	copy(disk[6<<10:], node(0, 2, 0, 3, 7, 10, 32770, 8))
	copy(disk[7<<10:], node(0, 85))
	e := &ext{v: viewOf(t, disk), block: 1024, blocks: 16}
	tests := map[string]struct {
		node []byte
		n    uint64
		want uint64
		err  error
	}{
		"leaf":                {node(0, 1, 0, 2, 9), 1, 10, nil},
		"behind a leaf":       {node(0, 1, 0, 2, 9), 2, 0, nil},
		"before the first":    {node(0, 1, 4, 2, 9), 3, 0, nil},
		"one level":           {node(1, 1, 0, 6), 2, 9, nil},
		"not written":         {node(1, 1, 0, 6), 11, 0, nil},
		"empty":               {node(0, 0), 0, 0, nil},
		"circle":              {node(2, 1, 0, 5), 0, 0, errUnsure},
		"deeper than it says": {node(1, 1, 0, 5), 0, 0, errUnsure},
		"too deep":            {node(6, 1, 0, 5), 0, 0, errUnsure},
		"too many records":    {node(0, 5), 0, 0, errUnsure},
		"too many in a block": {node(1, 1, 0, 7), 0, 0, errUnsure},
		"outside":             {node(1, 1, 0, 16), 0, 0, errUnsure},
		"nowhere":             {node(1, 1, 0, 0), 0, 0, errUnsure},
		"no magic number":     {make([]byte, 60), 0, 0, errUnsure},
	}
	for name, tt := range tests {
		got, err := e.extent(tt.node, tt.n)
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
}

// TestBlockMaps follows maps whose blocks point to themselves: the levels end it.
func TestBlockMaps(t *testing.T) {
	disk := make([]byte, 16<<10)
	for i := range 256 {
		le.PutUint32(disk[5<<10+4*i:], 5)
		le.PutUint32(disk[6<<10+4*i:], 99)
	}
	e := &ext{v: viewOf(t, disk), block: 1024, blocks: 16}
	pointers := make([]byte, 60)
	for i := range 15 {
		le.PutUint32(pointers[4*i:], 5)
	}
	for n, want := range map[uint64]error{
		0: nil, 11: nil, 12: nil, 267: nil, 268: nil, 65803: nil, 65804: nil, 16843019: nil, 16843020: errUnsure, 1 << 50: errUnsure,
	} {
		if got, err := e.mapped(pointers, n); !errors.Is(err, want) || err == nil && got != 5 {
			t.Errorf("block %d: %d, %v", n, got, err)
		}
	}
	le.PutUint32(pointers[52:], 6)
	if _, err := e.mapped(pointers, 300); !errors.Is(err, errUnsure) {
		t.Errorf("a block outside: %v", err)
	}
	le.PutUint32(pointers[52:], 0)
	if got, err := e.mapped(pointers, 300); got != 0 || err != nil {
		t.Errorf("a hole: %d, %v", got, err)
	}
}

// TestBudget reads no more than it may of a directory without end.
func TestBudget(t *testing.T) {
	disk := base(t, "ext2")
	v := viewOf(t, disk)
	fs, err := openExt(v)
	if err != nil {
		t.Fatal(err)
	}
	root, err := fs.inode(extRoot)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{maxDir, maxDir + 1, 1 << 62} {
		long := *root
		long.size = size
		for i := range 12 {
			copy(long.raw[44+4*i:48+4*i], long.raw[40:44]) // the same block again and again
		}
		if _, err := fs.lookup(&long, "no such name"); !errors.Is(err, errUnsure) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	if v.left < 0 {
		t.Errorf("%d bytes were read", maxBytes-v.left)
	}
}
