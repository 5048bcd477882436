package sketch

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// blocks returns data of which block i is made of the number from+i alone; equal numbers make equal blocks.
func blocks(from, count int) []byte {
	out := make([]byte, 0, count*BlockSize)
	for i := range count {
		b := make([]byte, BlockSize)
		binary.BigEndian.PutUint64(b[100:], uint64(from+i+1))
		out = append(out, b...)
	}
	return out
}

func of(data ...[]byte) *Sketch {
	s := &Sketch{}
	for _, d := range data {
		s.Add(d)
	}
	return s
}

// Estimates are within four standard errors of the truth, whatever the sizes of the two contents are.
func TestAccuracy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		mine, other int // blocks
		shared      int // of mine
		within      int // percent
	}{
		{"nothing in common", 10000, 10000, 0, 0},
		{"the same", 10000, 10000, 10000, 0},
		{"a tenth", 10000, 10000, 1000, 4},
		{"half", 10000, 10000, 5000, 7},
		{"nine tenths", 10000, 10000, 9000, 4},
		{"of a larger one", 5000, 25000, 2500, 14},
		{"of a smaller one", 25000, 5000, 2500, 4},
		{"all of a smaller one", 20000, 5000, 5000, 6},
		{"exactly, of small ones", 500, 600, 125, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			mine := of(blocks(0, c.mine))
			got, known := mine.In(of(blocks(0, c.shared), blocks(1<<30, c.other-c.shared)))
			want := 100 * c.shared / c.mine
			if !known || got < want-c.within || got > want+c.within {
				t.Errorf("%d%% (%v), want %d%%", got, known, want)
			}
		})
	}
}

// The error over many pairs is what theory says: at most 1.6 points, so twice that is never exceeded by its root mean square.
func TestErrorOfManyPairs(t *testing.T) {
	t.Parallel()
	const pairs, size, shared = 30, 2500, 1250
	sum := 0
	for i := range pairs {
		from := i * 2 * size
		got, _ := of(blocks(from, size)).In(of(blocks(from, shared), blocks(1<<30+from, size-shared)))
		sum += (got - 50) * (got - 50)
	}
	if sum > pairs*3*3 {
		t.Errorf("the mean square error of %d estimates is %.1f", pairs, float64(sum)/pairs)
	}
}

func TestTooLittleToSay(t *testing.T) {
	t.Parallel()
	small, large := of(blocks(0, enough-1)), of(blocks(0, 20000))
	for name, pair := range map[string][2]*Sketch{
		"nothing":            {{}, large},
		"few blocks":         {small, large},
		"much larger":        {of(blocks(0, 200)), large},
		"zeroes and no more": {of(make([]byte, 100*BlockSize)), large},
	} {
		if got, known := pair[0].In(pair[1]); known || got != 0 {
			t.Errorf("%s: %d%% is known", name, got)
		}
	}
	if got, known := large.In(&Sketch{}); !known || got != 0 {
		t.Errorf("nothing has %d%% (%v) of a content", got, known)
	}
}

// The order of blocks, how often they come and zeroes between them do not matter.
func TestOnlyBlocksCount(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		count := rapid.IntRange(1, 1500).Draw(t, "blocks")
		data := blocks(0, count)
		want := of(data)
		got := &Sketch{}
		r := rand.New(rand.NewPCG(1, uint64(count))) //nolint:gosec // not a secret
		for _, i := range append(r.Perm(count), r.Perm(count)[:count/2]...) {
			got.Add(data[i*BlockSize : (i+1)*BlockSize])
			got.Add(make([]byte, BlockSize))
			got.Add([]byte("less than a block"))
		}
		if !slices.Equal(got.hashes, want.hashes) || len(got.hashes) > Size {
			t.Fatalf("%d hashes, want %d", len(got.hashes), len(want.hashes))
		}
	})
}

func TestCodec(t *testing.T) {
	t.Parallel()
	for _, count := range []int{0, 1, 100, 5000} {
		s := of(blocks(0, count))
		b := s.Encode()
		got, err := Decode(b)
		if err != nil || !slices.Equal(got.hashes, s.hashes) || len(b) > MaxEncoded {
			t.Fatalf("%d blocks in %d bytes: %v", count, len(b), err)
		}
	}
	whole := of(blocks(0, 5000))
	good := whole.Encode()
	seal := func(b []byte) []byte {
		return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	}
	body := good[:len(good)-sumSize]
	swapped := slices.Clone(body)
	copy(swapped[headerSize:], body[headerSize+8:headerSize+16])
	other := slices.Clone(body)
	other[len(magic)]++
	for name, b := range map[string][]byte{
		"empty":        nil,
		"cut":          good[:len(good)-8],
		"longer":       append(slices.Clone(good), 0),
		"flipped":      flipped(good, 500),
		"other magic":  flipped(good, 7),
		"other blocks": seal(other),
		"not in order": seal(swapped),
		"bad count":    seal(slices.Clone(body[:len(body)-8])),
	} {
		if _, err := Decode(b); !fault.Is(err, fault.Corrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func flipped(b []byte, at int) []byte {
	b = slices.Clone(b)
	b[at] ^= 1
	return b
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(nil))
	f.Add((&Sketch{}).Encode())
	f.Add(of(blocks(0, 40)).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, binary.BigEndian.AppendUint32(slices.Clone(b), crc32.Checksum(b, castagnoli))} {
			s, err := Decode(b)
			if err != nil {
				continue
			}
			if !bytes.Equal(s.Encode(), b) {
				t.Fatal("two forms of one sketch")
			}
			if p, known := s.In(s); known && p != 100 {
				t.Fatalf("%d%% of a sketch are in itself", p)
			}
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	data := make([]byte, 64<<20)
	r := rand.NewChaCha8([32]byte{})
	_, _ = r.Read(data)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		of(data)
	}
}

func BenchmarkIn(b *testing.B) {
	x, y := of(blocks(0, 20000)), of(blocks(5000, 20000))
	for b.Loop() {
		x.In(y)
	}
}
