package qcow2

import (
	"bytes"
	"io"
	"runtime"
	"testing"

	"github.com/atoll-dcn/atoll/hub/internal/convert"
)

// counted counts what is read of a source.
type counted struct {
	io.ReaderAt
	calls, bytes int64 // of one goroutine: there is no data to be read by others
}

func (c *counted) ReadAt(p []byte, off int64) (int, error) {
	c.calls++
	c.bytes += int64(len(p))
	return c.ReaderAt.ReadAt(p, off)
}

// convertAll converts to a sink that only counts.
func convertAll(t *testing.T, src convert.Source, most int64) *counter {
	t.Helper()
	img, err := Open(src, most)
	if err != nil {
		t.Fatal(err)
	}
	c := &counter{}
	if err := img.WriteTo(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if c.data+c.zero != img.Size() {
		t.Fatalf("%d bytes of data and %d of zeroes, want %d in all", c.data, c.zero, img.Size())
	}
	return c
}

// However large an empty disk is, it is a single run of zeroes, and costs no more than its tables.
func TestEmptyDiskIsOneRun(t *testing.T) {
	t.Parallel()
	const tera = 1 << 40
	tables := map[string]struct {
		image *made
		bytes int64 // read at most
	}{
		"1 TiB, no tables": {
			&made{version: 3, bits: 16, length: 104, size: tera, l1Offset: 1 << 16, l1: repeat(tera>>29, 0)}, headSize + tera>>29*8,
		},
		"128 GiB, one table of zero clusters for all": {
			(&made{version: 3, bits: 16, length: 104, size: tera >> 3, l1Offset: 1 << 16, l1: repeat(tera>>32, 2<<16)}).
				table(2<<16, repeat(1<<13, 1)...), headSize + tera>>32*8 + 1<<16,
		},
		"128 GiB, largest L1 table": {small(128<<30, repeat(mostL1, 0)...), headSize + mostL1*8},
		"8 PiB, largest clusters": {
			&made{version: 3, bits: 21, length: 104, size: 1 << 53, l1Offset: 1 << 21, l1: repeat(1<<14, 0)}, headSize + 1<<14*8,
		},
	}
	for name, test := range tables {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src := &counted{ReaderAt: bytes.NewReader(test.image.bytes())}
			c := convertAll(t, src, 1<<60)
			if c.calls != 1 || c.data != 0 || src.bytes > test.bytes || src.calls > 2+src.bytes/l1Piece {
				t.Errorf("%d calls with %d bytes of data; %d bytes read in %d calls, want at most %d",
					c.calls, c.data, src.bytes, src.calls, test.bytes)
			}
		})
	}
}

// Memory does not grow with the disk or with what tables say: all that is ever allocated for a disk of many windows is what one needs
// that fills the windows under way.
func TestMemoryIsBounded(t *testing.T) { //nolint:paralleltest // counts what the whole process allocates
	const cluster = 2 << 20
	packed := deflated(make([]byte, cluster))
	zstd := frame(noise(cluster, 1))
	farthest := packedAt(21, 4*cluster, 2*cluster) // as long as compressed data can be said to be
	largest := func(entry uint64, part []byte, size uint64) *made {
		m := &made{version: 3, bits: 21, length: 104, size: size, l1Offset: cluster, l1: []uint64{2 * cluster}}
		return m.table(2*cluster, repeat(int(size/cluster), entry)...).put(4*cluster, part).put(6*cluster, make([]byte, cluster))
	}
	tests := map[string]*made{
		"plain":                            largest(4*cluster, packed, 128<<20),
		"compressed, said to be as long":   largest(farthest, packed, 128<<20),
		"zstd":                             largest(farthest, zstd, 128<<20).with(asZstd),
		"small clusters, none like before": small(8<<20, repeat(256, 1024)...).table(1024, alternate(64, 1536, 2560)...).put(3072, noise(512, 1)),
	}
	for name, image := range tests { //nolint:paralleltest // as above
		t.Run(name, func(t *testing.T) {
			data := image.bytes()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			convertAll(t, source(data), 1<<40)
			runtime.ReadMemStats(&after)
			if all := after.TotalAlloc - before.TotalAlloc; all > 48<<20 {
				t.Errorf("%d MiB allocated", all>>20)
			} else {
				t.Logf("%d MiB allocated", all>>20)
			}
		})
	}
}

// alternate returns n entries that take turns.
func alternate(n int, entries ...uint64) []uint64 {
	var all []uint64
	for i := range n {
		all = append(all, entries[i%len(entries)])
	}
	return all
}

// Plain data is read in pieces as large as windows, compressed data in groups, and neither depends on the size of clusters.
func TestReadsAreLarge(t *testing.T) {
	t.Parallel()
	const bits, clusters = 12, 512 // an L2 table describes 2 MiB
	p := text(1<<bits, 1)
	z := deflated(p)
	plain := &made{version: 3, bits: bits, length: 104, size: clusters << bits, l1Offset: 1 << bits, l1: []uint64{2 << bits}}
	packed := &made{version: 3, bits: bits, length: 104, size: clusters << bits, l1Offset: 1 << bits, l1: []uint64{2 << bits}}
	var plains, packeds []uint64
	for i := range int64(clusters) {
		plains = append(plains, uint64(i+3)<<bits)
		plain.put((i+3)<<bits, p)
		at := 3<<bits + i*int64(len(z))
		packeds = append(packeds, packedAt(bits, at, int64(len(z))))
		packed.put(at, z)
	}
	for name, image := range map[string]*made{"plain": plain.table(2<<bits, plains...), "packed": packed.table(2<<bits, packeds...)} {
		src := &counted{ReaderAt: bytes.NewReader(image.bytes())}
		convertAll(t, src, 1<<40)
		if src.calls > 6 { // header, L1 table, L2 table, data
			t.Errorf("%s: %d reads", name, src.calls)
		}
	}
}
