package manifest_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

func sum(b []byte) manifest.Digest { return sha256.Sum256(b) }

// drawManifest draws a manifest with runs of zeroes.
func drawManifest(t *rapid.T) *manifest.Manifest {
	m := &manifest.Manifest{}
	for i := range rapid.IntRange(1, 8).Draw(t, "runs") {
		var d manifest.Digest
		if rapid.Bool().Draw(t, "data") {
			d = sum([]byte{byte(i)})
		}
		m.Chunks = append(m.Chunks, slices.Repeat([]manifest.Digest{d}, rapid.IntRange(1, 50).Draw(t, "count"))...)
	}
	m.Length = int64(len(m.Chunks)-1)*manifest.ChunkSize + rapid.Int64Range(1, manifest.ChunkSize).Draw(t, "tail")
	return m
}

func TestStoredManifestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawManifest(t)
		var b bytes.Buffer
		root, err := manifest.Write(&b, m, sum)
		if err != nil {
			t.Fatal(err)
		}
		got, gotRoot, err := manifest.Read(iotest.OneByteReader(&b), sum)
		if err != nil || gotRoot != root || got.Length != m.Length || !slices.Equal(got.Chunks, m.Chunks) {
			t.Fatalf("length %d, %d chunks, error %v", got.Length, len(got.Chunks), err)
		}
	})
}

// A stream may begin anywhere, be flushed anywhere and hold keep-alives.
func TestStreamRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawManifest(t)
		from := rapid.IntRange(0, len(m.Chunks)).Draw(t, "from")
		var b bytes.Buffer
		enc := manifest.NewEncoder(&b, from)
		for _, d := range m.Chunks[from:] {
			err := enc.Append(d)
			switch rapid.IntRange(0, 5).Draw(t, "between") {
			case 0:
				err = errors.Join(err, enc.Flush())
			case 1:
				err = errors.Join(err, enc.KeepAlive())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		end := manifest.End{Length: m.Length, Root: m.Root(sum)}
		if err := enc.End(end); err != nil {
			t.Fatal(err)
		}
		dec := manifest.NewDecoder(&b)
		if first, err := dec.First(); err != nil || first != from {
			t.Fatalf("first chunk %d, error %v", first, err)
		}
		next := from
		for {
			rec, err := dec.Next()
			if err != nil || rec.Index != next {
				t.Fatalf("chunk %d, want %d, error %v", rec.Index, next, err)
			}
			if rec.End != nil {
				if *rec.End != end {
					t.Fatalf("end %v", rec.End)
				}
				break
			}
			for range rec.Count {
				if rec.Digest != m.Chunks[next] {
					t.Fatalf("chunk %d differs", next)
				}
				next++
			}
		}
		if next != len(m.Chunks) {
			t.Fatalf("%d chunks of %d", next, len(m.Chunks))
		}
		if _, err := dec.Next(); !errors.Is(err, io.EOF) {
			t.Fatalf("after the end: %v", err)
		}
	})
}

func TestEmptyImageIsTiny(t *testing.T) {
	m := &manifest.Manifest{Length: 100 << 30, Chunks: make([]manifest.Digest, manifest.Count(100<<30))}
	var b bytes.Buffer
	if _, err := manifest.Write(&b, m, sum); err != nil || b.Len() > 64 {
		t.Fatalf("%d bytes, error %v", b.Len(), err)
	}
}

func TestGone(t *testing.T) {
	var b bytes.Buffer
	enc := manifest.NewEncoder(&b, 0)
	if err := errors.Join(enc.Append(manifest.Digest{}), enc.Gone()); err != nil {
		t.Fatal(err)
	}
	dec := manifest.NewDecoder(&b)
	if rec, err := dec.Next(); err != nil || rec.Count != 1 {
		t.Fatalf("%v, error %v", rec, err)
	}
	for range 2 {
		if _, err := dec.Next(); !fault.Is(err, fault.Precondition) || fault.ReasonOf(err) != manifest.ReasonGone {
			t.Fatalf("error %v", err)
		}
	}
}

func TestEncoderRefusesWrongEnds(t *testing.T) {
	for _, length := range []int64{-1, 0, manifest.ChunkSize, 2*manifest.ChunkSize + 1, manifest.MaxLength + 1} {
		enc := manifest.NewEncoder(io.Discard, 0)
		if err := errors.Join(enc.Append(sum(nil)), enc.Append(manifest.Digest{})); err != nil {
			t.Fatal(err)
		}
		if err := enc.End(manifest.End{Length: length}); !fault.Is(err, fault.Corrupt) {
			t.Errorf("length %d: error %v", length, err)
		}
	}
	if err := manifest.NewEncoder(io.Discard, -1).Flush(); !fault.Is(err, fault.Invalid) {
		t.Errorf("negative start: %v", err)
	}
	if err := manifest.NewEncoder(io.Discard, manifest.MaxChunks).Append(manifest.Digest{}); !fault.Is(err, fault.Invalid) {
		t.Errorf("too many chunks: %v", err)
	}
}

func TestEncoderKeepsItsError(t *testing.T) {
	broken := errors.New("broken")
	enc := manifest.NewEncoder(writerFunc(func([]byte) (int, error) { return 0, broken }), 0)
	if err := enc.Append(sum(nil)); !errors.Is(err, broken) {
		t.Errorf("Append: %v", err)
	}
	if err := enc.Append(manifest.Digest{}); !errors.Is(err, broken) {
		t.Errorf("Append again: %v", err)
	}
	if err := enc.End(manifest.End{Length: manifest.ChunkSize}); !errors.Is(err, broken) {
		t.Errorf("End: %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

const header = "atollmf1\x00\x40\x00\x00\x00\x00\x00\x00"

var malformed = map[string]struct {
	stream string
	cut    bool // the input ends early
}{
	"empty":             {"", true},
	"short header":      {header[:15], true},
	"bad magic":         {"btollmf1" + header[8:], false},
	"other chunk size":  {header[:8] + "\x00\x20\x00\x00\x00\x00\x00\x00", false},
	"begins too late":   {header[:12] + "\x01\x00\x00\x01", false},
	"no end":            {header, true},
	"unknown record":    {header + "q", false},
	"short digest":      {header + "cabc", true},
	"zero digest":       {header + "c" + string(make([]byte, 32)), false},
	"short run":         {header + "z\x00\x00", true},
	"empty run":         {header + "z\x00\x00\x00\x00", false},
	"run too long":      {header + "z\x01\x00\x00\x01", false},
	"run overflows":     {header + "z\xff\xff\xff\xff", false},
	"runs too long":     {header + "z\x01\x00\x00\x00z\x00\x00\x00\x01", false},
	"short end":         {header + "z\x00\x00\x00\x01e\x00", true},
	"end without chunk": {header + "e" + string(make([]byte, 40)), false},
	"length too small":  {header + "z\x00\x00\x00\x02e" + "\x00\x00\x00\x00\x00\x40\x00\x00" + string(make([]byte, 32)), false},
	"length too big":    {header + "z\x00\x00\x00\x01e" + "\x00\x00\x00\x00\x00\x40\x00\x01" + string(make([]byte, 32)), false},
	"length overflows":  {header + "z\x00\x00\x00\x01e" + "\xff\xff\xff\xff\xff\xff\xff\xff" + string(make([]byte, 32)), false},
}

func TestDecoderRefuses(t *testing.T) {
	for name, tt := range malformed {
		t.Run(name, func(t *testing.T) {
			dec := manifest.NewDecoder(bytes.NewReader([]byte(tt.stream)))
			var err error
			for err == nil {
				_, err = dec.Next()
			}
			if tt.cut && !errors.Is(err, io.ErrUnexpectedEOF) || !tt.cut && !fault.Is(err, fault.Corrupt) {
				t.Fatalf("error %v", err)
			}
			if _, again := dec.Next(); again == nil || again.Error() != err.Error() {
				t.Fatalf("the second error is %v, not %v", again, err)
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	m := &manifest.Manifest{Length: 5, Chunks: []manifest.Digest{sum(nil)}}
	var b bytes.Buffer
	if _, err := manifest.Write(&b, m, sum); err != nil {
		t.Fatal(err)
	}
	good := b.Bytes()
	changed := func(i int) []byte {
		c := bytes.Clone(good)
		c[i] ^= 1
		return c
	}
	for name, stream := range map[string][]byte{
		"bytes follow":   append(bytes.Clone(good), 'k'),
		"other digest":   changed(20),
		"other root":     changed(len(good) - 1),
		"other length":   changed(len(good) - 33),
		"not from start": changed(15),
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := manifest.Read(bytes.NewReader(stream), sum); !fault.Is(err, fault.Corrupt) {
				t.Fatalf("error %v", err)
			}
		})
	}
	if _, _, err := manifest.Read(iotest.TimeoutReader(iotest.OneByteReader(bytes.NewReader(good))), sum); !errors.Is(err, iotest.ErrTimeout) {
		t.Fatalf("error of the reader: %v", err)
	}
	if _, err := manifest.Write(io.Discard, &manifest.Manifest{Length: 5}, sum); !fault.Is(err, fault.Corrupt) {
		t.Fatalf("Write without chunks: %v", err)
	}
}

// FuzzDecoder feeds the decoder anything. What it accepts must be consistent and survive another round.
func FuzzDecoder(f *testing.F) {
	for _, tt := range malformed {
		f.Add([]byte(tt.stream))
	}
	var b bytes.Buffer
	_, _ = manifest.Write(&b, &manifest.Manifest{
		Length: 4*manifest.ChunkSize + 1, Chunks: []manifest.Digest{sum(nil), {}, {}, sum([]byte{1}), {}},
	}, sum)
	f.Add(b.Bytes())
	f.Add([]byte(header + "kkz\x00\x00\x00\x01kx"))
	f.Fuzz(func(t *testing.T, in []byte) {
		dec := manifest.NewDecoder(bytes.NewReader(in))
		first, err := dec.First()
		if err != nil {
			return
		}
		var out bytes.Buffer
		enc := manifest.NewEncoder(&out, first)
		var records []manifest.Record
		for next := first; ; {
			rec, err := dec.Next()
			if err != nil {
				return
			}
			if rec.Index != next || next > manifest.MaxChunks || rec.Count > 1 && !rec.Digest.IsZero() {
				t.Fatalf("inconsistent record %+v at chunk %d", rec, next)
			}
			next += rec.Count
			if rec.End != nil {
				if manifest.Count(rec.End.Length) != next {
					t.Fatalf("%d chunks for %d bytes", next, rec.End.Length)
				}
				if err := enc.End(*rec.End); err != nil {
					t.Fatal(err)
				}
				break
			}
			if rec.Count > 1<<10 {
				return // correct, but slow to write again chunk by chunk
			}
			for range rec.Count {
				if err := enc.Append(rec.Digest); err != nil {
					t.Fatal(err)
				}
			}
			if n := len(records); n > 0 && rec.Digest.IsZero() && records[n-1].Digest.IsZero() {
				records[n-1].Count += rec.Count // the encoder joins runs
			} else {
				records = append(records, rec)
			}
		}
		again := manifest.NewDecoder(&out)
		for _, want := range records {
			if rec, err := again.Next(); err != nil || rec != want {
				t.Fatalf("after another round %+v, want %+v, error %v", rec, want, err)
			}
		}
		if rec, err := again.Next(); err != nil || rec.End == nil {
			t.Fatalf("no end after another round: error %v", err)
		}
	})
}
