package frame_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func TestRoundTrip(t *testing.T) {
	buf, dst := make([]byte, 0, frame.MaxSize), make([]byte, manifest.ChunkSize)
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "raw")
		raw = bytes.Repeat(raw, rapid.IntRange(1, 20).Draw(t, "times"))
		codec := rapid.SampledFrom([]frame.Codec{frame.Raw, frame.Zstd}).Draw(t, "codec")
		b, err := frame.Encode(buf, raw, codec)
		if err != nil {
			t.Fatal(err)
		}
		h, err := frame.ParseHeader(b)
		if err != nil || h.Raw != len(raw) || h.Size() != len(b) {
			t.Fatalf("header %+v, error %v", h, err)
		}
		got, err := frame.Decode(b, dst)
		if err != nil || !bytes.Equal(got, raw) {
			t.Fatalf("%d bytes of %d, error %v", len(got), len(raw), err)
		}
	})
}

func TestWholeChunks(t *testing.T) {
	for name, tt := range map[string]struct {
		raw   []byte
		asked frame.Codec
		used  frame.Codec
	}{
		"raw":                         {random(manifest.ChunkSize), frame.Raw, frame.Raw},
		"compressible":                {bytes.Repeat([]byte("atoll"), manifest.ChunkSize/5), frame.Zstd, frame.Zstd},
		"not worth it":                {random(manifest.ChunkSize), frame.Zstd, frame.Raw},
		"one byte is never worth it":  {[]byte{7}, frame.Zstd, frame.Raw},
		"few bytes are not worth it":  {[]byte("abcabcabcabc"), frame.Zstd, frame.Raw},
		"all zero, which none stores": {make([]byte, manifest.ChunkSize), frame.Zstd, frame.Zstd},
	} {
		t.Run(name, func(t *testing.T) {
			prefix := []byte("prefix")
			b, err := frame.Encode(prefix, tt.raw, tt.asked)
			if err != nil || !bytes.HasPrefix(b, prefix) {
				t.Fatalf("error %v", err)
			}
			b = b[len(prefix):]
			h, err := frame.ParseHeader(b)
			if err != nil || h.Codec != tt.used {
				t.Fatalf("header %+v, error %v", h, err)
			}
			got, err := frame.Decode(b, make([]byte, 0, len(tt.raw)))
			if err != nil || !bytes.Equal(got, tt.raw) {
				t.Fatalf("%d bytes, error %v", len(got), err)
			}
		})
	}
}

func TestEncodeDoesNotReallocate(t *testing.T) {
	buf := make([]byte, 0, frame.MaxSize)
	for _, raw := range [][]byte{random(manifest.ChunkSize), bytes.Repeat([]byte("ab"), manifest.ChunkSize/2)} {
		for _, codec := range []frame.Codec{frame.Raw, frame.Zstd} {
			b, err := frame.Encode(buf, raw, codec)
			if err != nil || &b[0] != &buf[:1][0] {
				t.Errorf("codec %d: reallocated, error %v", codec, err)
			}
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	for _, n := range []int{0, manifest.ChunkSize + 1} {
		if _, err := frame.Encode(nil, make([]byte, n), frame.Raw); !fault.Is(err, fault.Invalid) {
			t.Errorf("%d bytes: error %v", n, err)
		}
	}
}

// build makes a frame from its parts, whether they fit or not.
func build(codec byte, raw, payload uint32, body []byte) []byte {
	b := append([]byte("atf1"), codec, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, raw)
	b = binary.BigEndian.AppendUint32(b, payload)
	return append(b, body...)
}

func compressed(t testing.TB, raw []byte) []byte {
	t.Helper()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = enc.Close() }()
	return enc.EncodeAll(raw, nil)
}

func malformed(t testing.TB) map[string][]byte {
	bomb := compressed(t, make([]byte, 64<<20))
	kilo := compressed(t, make([]byte, 1024))
	other := build(0, 3, 3, []byte("abc"))
	other[3] = '2'
	reserved := build(0, 3, 3, []byte("abc"))
	reserved[6] = 1
	return map[string][]byte{
		"empty":                   nil,
		"short header":            build(0, 3, 3, nil)[:15],
		"other magic":             other,
		"reserved bytes":          reserved,
		"unknown codec":           build(2, 4, 3, []byte("abc")),
		"raw of no bytes":         build(0, 0, 0, nil),
		"raw too long":            build(0, manifest.ChunkSize+1, manifest.ChunkSize+1, make([]byte, manifest.ChunkSize+1)),
		"raw lengths differ":      build(0, 4, 3, []byte("abc")),
		"payload longer than raw": build(1, 3, 4, []byte("abcd")),
		"zstd that saves nothing": build(1, 3, 3, []byte("abc")),
		"payload cut":             build(0, 3, 3, []byte("ab")),
		"bytes follow":            build(0, 3, 3, []byte("abcd")),
		"payload length wraps":    build(0, 0xffffffff, 0xffffffff, []byte("abc")),
		"zstd garbage":            build(1, 100, 8, []byte("garbage!")),
		"zstd bomb":               build(1, manifest.ChunkSize, uint32(len(bomb)), bomb),
		"zstd longer than said":   build(1, 1023, uint32(len(kilo)), kilo),
		"zstd shorter than said":  build(1, 1025, uint32(len(kilo)), kilo),
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, b := range malformed(t) {
		t.Run(name, func(t *testing.T) {
			if got, err := frame.Decode(b, make([]byte, manifest.ChunkSize)); !fault.Is(err, fault.Corrupt) {
				t.Fatalf("%d bytes, error %v", len(got), err)
			}
		})
	}
	good := compressed(t, make([]byte, 1024))
	if _, err := frame.Decode(build(1, 1024, uint32(len(good)), good), make([]byte, 1023)); !fault.Is(err, fault.Invalid) {
		t.Fatalf("short buffer: error %v", err)
	}
}

func TestBombCostsLittleMemory(t *testing.T) {
	bomb, dst := malformed(t)["zstd bomb"], make([]byte, manifest.ChunkSize)
	result := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			_, _ = frame.Decode(bomb, dst)
		}
	})
	if got := result.AllocedBytesPerOp(); got > 2*manifest.ChunkSize {
		t.Errorf("%d bytes allocated", got)
	}
}

func TestZero(t *testing.T) {
	for _, n := range []int{0, 1, 100, 64 << 10, 64<<10 + 1, manifest.ChunkSize} {
		b := make([]byte, n)
		if !frame.IsZero(b) || !frame.ChunkDigest(b).IsZero() {
			t.Errorf("%d zeroes are not zero", n)
		}
		for _, i := range []int{0, n / 2, n - 1} {
			if n == 0 {
				continue
			}
			b[i] = 1
			if frame.IsZero(b) || frame.ChunkDigest(b) != frame.Sum(b) {
				t.Errorf("byte %d of %d is not seen", i, n)
			}
			b[i] = 0
		}
	}
}

// The digest must never change: sites hold it for years.
func TestSumIsBLAKE3(t *testing.T) {
	const want = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
	if got := frame.Sum(nil).String(); got != want {
		t.Fatalf("digest of nothing %s, want %s", got, want)
	}
}

// FuzzDecode feeds the decoder anything. What it accepts has the length that its header says.
func FuzzDecode(f *testing.F) {
	for _, b := range malformed(f) {
		if len(b) < 64<<10 {
			f.Add(b)
		}
	}
	for _, codec := range []frame.Codec{frame.Raw, frame.Zstd} {
		b, err := frame.Encode(nil, bytes.Repeat([]byte("atoll"), 100), codec)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	dst := make([]byte, manifest.ChunkSize)
	f.Fuzz(func(t *testing.T, b []byte) {
		raw, err := frame.Decode(b, dst)
		if err != nil {
			if class := fault.ClassOf(err); class != fault.Corrupt {
				t.Fatalf("class %v: %v", class, err)
			}
			return
		}
		h, err := frame.ParseHeader(b)
		if err != nil || h.Raw != len(raw) || h.Size() != len(b) {
			t.Fatalf("header %+v for %d bytes of %d, error %v", h, len(raw), len(b), err)
		}
		again, err := frame.Encode(nil, raw, frame.Raw)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := frame.Decode(again, nil); err != nil || !bytes.Equal(got, raw) {
			t.Fatalf("another round: error %v", err)
		}
	})
}
