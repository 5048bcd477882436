package delta

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// noise returns bytes that do not compress.
func noise(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // test data
	p := make([]byte, n+8)
	for i := 0; i < n; i += 8 {
		binary.LittleEndian.PutUint64(p[i:], r.Uint64())
	}
	return p[:n]
}

// encode returns the delta of a chunk and checks that it makes the chunk again.
func encode(t interface{ Fatalf(string, ...any) }, base, chunk []byte) []byte {
	x := NewIndex(int64(len(base)))
	x.Add(0, base)
	d, err := NewEncoder(x, bytes.NewReader(base)).Encode(nil, chunk)
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	got := make([]byte, len(chunk))
	if err := Apply(got, d, bytes.NewReader(base)); err != nil {
		t.Fatalf("apply: %v", err)
	}
	if !bytes.Equal(got, chunk) {
		t.Fatalf("the chunk differs")
	}
	return d
}

// What is in the base costs next to nothing, wherever it is.
func TestDeltaIsShort(t *testing.T) {
	t.Parallel()
	base := noise(1, 1<<20)
	for name, c := range map[string]struct {
		chunk []byte
		most  int
	}{
		"the same":          {base, 16},
		"moved by a byte":   {slices.Concat([]byte{7}, base[:len(base)-1]), 24},
		"in another order":  {slices.Concat(base[700_001:], base[:700_001]), 64},
		"changed in places": {change(base, 100), 100 * 120},
		"twice":             {slices.Concat(base[:300_000], base[:300_000]), 64},
		"a piece":           {base[123_457:124_481], 300},
		"new":               {noise(2, 1<<20), 1<<20 + 16},
		"zeroes":            {make([]byte, 1<<20), 200},
		"a byte":            {[]byte{1}, 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if d := encode(t, base, c.chunk); len(d) > c.most {
				t.Errorf("%d bytes for %d", len(d), len(c.chunk))
			}
		})
	}
}

// change returns p with n bytes changed.
func change(p []byte, n int) []byte {
	out := slices.Clone(p)
	for i := range n {
		out[i*len(p)/n] ^= 1
	}
	return out
}

// Whatever two contents have in common, the second one comes out.
func TestDeltaOfAnything(t *testing.T) {
	t.Parallel()
	pool := noise(3, 1<<16)
	rapid.Check(t, func(t *rapid.T) {
		build := func(label string) []byte {
			out := []byte{0}
			for range rapid.IntRange(0, 20).Draw(t, label) {
				switch rapid.IntRange(0, 2).Draw(t, "kind") {
				case 0:
					at := rapid.IntRange(0, len(pool)-1).Draw(t, "at")
					out = append(out, pool[at:min(len(pool), at+rapid.IntRange(0, 5000).Draw(t, "length"))]...)
				case 1:
					out = append(out, make([]byte, rapid.IntRange(0, 3000).Draw(t, "zeroes"))...)
				default:
					out = append(out, rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "bytes")...)
				}
			}
			return out
		}
		encode(t, build("base"), build("chunk"))
	})
}

// An index of a base with holes, added piece by piece, finds what lies across two pieces.
func TestIndexOfPieces(t *testing.T) {
	t.Parallel()
	const hole = 1 << 20
	data := noise(4, 600_000)
	base := slices.Concat(data[:300_000], make([]byte, hole), data[300_000:])
	x := NewIndex(int64(len(data)))
	for i := 0; i < 300_000; i += 100_000 {
		x.Add(int64(i), data[i:i+100_000])
	}
	x.Add(300_000+hole, data[300_000:])
	e := NewEncoder(x, bytes.NewReader(base))
	for _, chunk := range [][]byte{data[99_000:101_000], data[:300_000], data[300_000:]} {
		d, err := e.Encode(nil, chunk)
		if err != nil || len(d) > 200 {
			t.Errorf("%d bytes for %d: %v", len(d), len(chunk), err)
		}
	}
}

// The memory of an index is bounded whatever the base.
func TestIndexIsBounded(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{0, 1, 700 << 20, 16 << 40} {
		if x := NewIndex(size); len(x.slots) > maxSlots || len(x.slots) < minSlots || len(x.slots)&(len(x.slots)-1) != 0 {
			t.Errorf("%d slots for %d bytes", len(x.slots), size)
		}
	}
}

// A base that has changed since makes a longer delta, never a wrong one.
func TestBaseThatChanged(t *testing.T) {
	t.Parallel()
	base := noise(5, 1<<18)
	x := NewIndex(int64(len(base)))
	x.Add(0, base)
	now := change(base, 1000)
	d, err := NewEncoder(x, bytes.NewReader(now)).Encode(nil, base)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(base))
	if err := Apply(got, d, bytes.NewReader(now)); err != nil || !bytes.Equal(got, base) {
		t.Errorf("differs, %v", err)
	}
}

type broken struct{}

var errBroken = errors.New("broken")

func (broken) ReadAt([]byte, int64) (int, error) { return 0, errBroken }

// Errors of the base come back as they are; a base that is too short is not the one of the delta.
func TestBaseThatFails(t *testing.T) {
	t.Parallel()
	base := noise(6, 1<<18)
	d := encode(t, base, base)
	chunk := make([]byte, len(base))
	if err := Apply(chunk, d, broken{}); !errors.Is(err, errBroken) {
		t.Errorf("apply: %v", err)
	}
	if err := Apply(chunk, d, bytes.NewReader(base[:100])); fault.ReasonOf(err) != ReasonCorrupt {
		t.Errorf("apply to less: %v", err)
	}
	x := NewIndex(int64(len(base)))
	x.Add(0, base)
	if _, err := NewEncoder(x, broken{}).Encode(nil, base); !errors.Is(err, errBroken) {
		t.Errorf("encode: %v", err)
	}
}

func TestBadChunks(t *testing.T) {
	t.Parallel()
	e := NewEncoder(NewIndex(0), bytes.NewReader(nil))
	for _, n := range []int{0, manifest.ChunkSize + 1} {
		if _, err := e.Encode(nil, make([]byte, n)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// Deltas that no encoder makes are refused.
func TestBadDeltas(t *testing.T) {
	t.Parallel()
	base := noise(7, 4096)
	op := func(numbers ...uint64) []byte {
		var b []byte
		for _, n := range numbers {
			b = binary.AppendUvarint(b, n)
		}
		return b
	}
	for name, d := range map[string][]byte{
		"nothing":              {},
		"too many copies":      op(1 << 40),
		"cut in a copy":        op(1, 0, 100),
		"short copy":           append(op(1, 0, 1, 0), plain),
		"copy beyond":          append(op(1, 0, 2000, 0), plain),
		"literals beyond":      append(op(1, 2000, 100, 0), plain),
		"before the base":      append(op(1, 0, 100, 1), plain), // -1
		"far behind the base":  append(op(1, 0, 100, 1<<60), plain),
		"behind the base":      append(append(op(1, 0, 100, 2*4096), plain), make([]byte, 924)...),
		"no literals":          op(1, 0, 100, 0),
		"literals cut":         append(op(0), append([]byte{plain}, make([]byte, 1023)...)...),
		"too many literals":    append(op(0), append([]byte{plain}, make([]byte, 1025)...)...),
		"unknown literals":     append(op(0), append([]byte{9}, make([]byte, 1024)...)...),
		"damaged literals":     append(op(0), zstded, 1, 2, 3),
		"literals for nothing": append(op(1, 0, 1024, 0), plain, 0),
	} {
		if err := Apply(make([]byte, 1024), d, bytes.NewReader(base)); fault.ReasonOf(err) != ReasonCorrupt {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// No bytes make the decoder panic, write outside of the chunk or take more than a chunk of memory.
func FuzzApply(f *testing.F) {
	base := noise(8, 1<<12)
	x := NewIndex(int64(len(base)))
	x.Add(0, base)
	d, err := NewEncoder(x, bytes.NewReader(base)).Encode(nil, slices.Concat(base[1000:3000], []byte("new"), base[:500]))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(d)
	f.Add([]byte{0, plain, 1})
	f.Fuzz(func(t *testing.T, d []byte) {
		chunk := make([]byte, 2503)
		if err := Apply(chunk, d, io.NewSectionReader(bytes.NewReader(base), 0, 1<<12)); err != nil && fault.ReasonOf(err) != ReasonCorrupt {
			t.Fatal(err)
		}
	})
}
