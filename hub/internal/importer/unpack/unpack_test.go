package unpack

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"

	"github.com/atoll-dcn/atoll/hub/internal/convert"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const plenty = 1 << 30

// unpackAll detects and unpacks in.
func unpackAll(t *testing.T, in []byte, most int64) ([]byte, error) {
	t.Helper()
	u, err := New(t.Context(), Detect(in[:min(HeadSize, len(in))]), bytes.NewReader(in), most)
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(u)
	if err := u.Close(); err != nil {
		t.Error(err)
	}
	return out, err
}

func TestUnpack(t *testing.T) {
	noise := make([]byte, 3*chunkSize*chunks)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise)
	gzDisk, zstDisk, xzDisk, bzDisk := gz(t, []byte(disk)), file(t, "disk.zst"), file(t, "disk.xz"), file(t, "disk.bz2")
	skip := []byte("\x50\x2a\x4d\x18\x04\x00\x00\x00skip")
	tests := map[string]struct {
		in   []byte
		want string
	}{
		"gzip":                        {gzDisk, disk},
		"gzip of nothing":             {gz(t, nil), ""},
		"gzip larger than read-ahead": {gz(t, noise), string(noise)},
		"gzip members":                {join(gzDisk, gz(t, nil), gzDisk), disk + disk},
		"gzip and zeroes":             {join(gzDisk, make([]byte, 100_000)), disk},
		"gzip in gzip":                {gz(t, gzDisk), string(gzDisk)},
		"gzip in xz's clothes":        {gz(t, xzDisk), string(xzDisk)},
		"zstd":                        {zstDisk, disk},
		"zstd larger than read-ahead": {zst(t, noise), string(noise)},
		"zstd frames":                 {join(zstDisk, zstDisk), disk + disk},
		"zstd after skippable":        {join(skip, zstDisk), disk},
		"zstd before skippable":       {join(zstDisk, skip), disk},
		"zstd with the largest window": {
			zst(t, []byte(strings.Repeat(disk, 50_000)), zstd.WithWindowSize(MaxZstdWindow), zstd.WithSingleSegment(false)),
			strings.Repeat(disk, 50_000),
		},
		"xz":                             {xzDisk, disk},
		"xz of nothing":                  {file(t, "empty.xz"), ""},
		"xz without checks":              {file(t, "nocheck.xz"), disk},
		"xz with CRC-32":                 {file(t, "crc32.xz"), disk},
		"xz with SHA-256":                {file(t, "sha256.xz"), disk},
		"xz with a filter for programs":  {file(t, "x86.xz"), disk},
		"xz with the largest dictionary": {file(t, "dict64m.xz"), disk},
		"xz streams":                     {join(xzDisk, make([]byte, 8), xzDisk), disk + disk},
		"xz and zeroes":                  {join(xzDisk, make([]byte, 512)), disk},
		"bzip2":                          {bzDisk, disk},
		"bzip2 of nothing":               {file(t, "empty.bz2"), ""},
		"bzip2 streams":                  {join(bzDisk, file(t, "empty.bz2"), bzDisk), disk + disk},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := unpackAll(t, tt.in, plenty)
			if err != nil || string(got) != tt.want {
				t.Errorf("%d bytes, error %v; want %d bytes", len(got), err, len(tt.want))
			}
		})
	}
}

// TestDamage cuts and changes good data at every place and puts something behind it.
func TestDamage(t *testing.T) {
	good := map[string][]byte{
		"gzip": gz(t, []byte(disk)), "zstd": zst(t, []byte(disk), zstd.WithEncoderCRC(true)),
		"xz": file(t, "disk.xz"), "bzip2": file(t, "disk.bz2"),
	}
	damaged := func(t *testing.T, what string, c Compression, in []byte) {
		t.Helper()
		u, err := New(t.Context(), c, bytes.NewReader(in), plenty)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = u.Close() }()
		out, err := io.ReadAll(u)
		if !fault.Is(err, fault.Invalid) || fault.ReasonOf(err) != convert.ReasonDamaged {
			t.Errorf("%s: %q, %v (%s)", what, out, err, fault.ReasonOf(err))
		}
		if !strings.Contains(fault.Public(err), string(c)) {
			t.Errorf("%s: %q does not name the format", what, fault.Public(err))
		}
	}
	for name, in := range good {
		t.Run(name, func(t *testing.T) {
			c := Compression(name)
			for n := range in {
				damaged(t, "cut", c, in[:n])
			}
			for _, tail := range []string{"x", "\x00x", "\x1f", "\x1f\x8b\x08", "\xfd7z", "\x28\xb5", "BZ", "trailing bytes that are no magic"} {
				damaged(t, "followed by "+tail, c, join(in, []byte(tail)))
			}
			changed := bytes.Clone(in)
			changed[len(in)-5] ^= 0x40 // in a checksum, or for xz in the size of the index
			damaged(t, "checksum", c, changed)
		})
	}
	damaged(t, "odd padding", XZ, join(good["xz"], make([]byte, 3)))
	damaged(t, "zeroes after bzip2", Bzip2, join(good["bzip2"], make([]byte, 4)))
	damaged(t, "zeroes after zstd", Zstd, join(good["zstd"], make([]byte, 4)))
}

// TestNoSilentChange changes every single bit: what comes out without an error is the same as before.
func TestNoSilentChange(t *testing.T) {
	zstDisk := zst(t, []byte(disk), zstd.WithEncoderCRC(true))
	for _, in := range [][]byte{gz(t, []byte(disk)), zstDisk, file(t, "disk.xz"), file(t, "disk.bz2")} {
		c := Detect(in)
		for i := range len(in) * 8 {
			changed := bytes.Clone(in)
			changed[i/8] ^= 1 << (i % 8)
			u, err := New(t.Context(), c, bytes.NewReader(changed), plenty)
			if err != nil {
				t.Fatal(err)
			}
			out, err := io.ReadAll(u)
			_ = u.Close()
			if err == nil && string(out) != disk && len(out) > 0 {
				t.Errorf("%s, bit %d: %q", c, i, out)
			}
			if _, ok := fault.As(err); err != nil && !ok {
				t.Errorf("%s, bit %d: an error without a class: %v", c, i, err)
			}
		}
	}
}

func TestLimitsOfMemory(t *testing.T) {
	wide := func(s string) []byte { return []byte("\x28\xb5\x2f\xfd" + s) }
	tests := map[string]struct {
		in   []byte
		want string
	}{
		"xz dictionary":       {file(t, "dict96m.xz"), "64 MiB"},
		"zstd window":         {wide("\x00\x90\x01\x00\x00"), "128 MiB"},             // 2^28
		"zstd largest window": {wide("\x00\xff\x01\x00\x00"), "128 MiB"},             // 3.75 TiB
		"zstd single segment": {wide("\xa0\x00\x00\x00\x20\x01\x00\x00"), "128 MiB"}, // 512 MiB,
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := unpackAll(t, tt.in, plenty)
			if !fault.Is(err, fault.Exhausted) || fault.ReasonOf(err) != ReasonMemory || !strings.Contains(fault.Public(err), tt.want) {
				t.Errorf("error %v (%s)", err, fault.ReasonOf(err))
			}
		})
	}
	_, err := unpackAll(t, wide("\x21\x07\x00\x01\x00\x00"), plenty)
	if fault.ReasonOf(err) != ReasonUnsupported {
		t.Errorf("a dictionary that is elsewhere: %v", err)
	}
	if _, err := New(t.Context(), "lzip", strings.NewReader(""), plenty); fault.ReasonOf(err) != ReasonUnsupported {
		t.Errorf("unknown format: %v", err)
	}
}

// TestErrorsOfTheSource: what a source says is the reason, whatever the decompressor makes of it; only an end is damage.
func TestErrorsOfTheSource(t *testing.T) {
	lost := fault.New(fault.Unavailable, "SOURCE_LOST", "the source stopped")
	for _, in := range [][]byte{gz(t, []byte(disk)), file(t, "disk.zst"), file(t, "disk.xz"), file(t, "disk.bz2")} {
		c := Detect(in)
		for n := range in {
			for _, cause := range []error{lost, errors.Join(lost, io.EOF), io.ErrNoProgress} {
				src := io.MultiReader(bytes.NewReader(in[:n]), iotest.ErrReader(cause))
				u, err := New(t.Context(), c, src, plenty)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadAll(u); !errors.Is(err, cause) {
					t.Errorf("%s after %d bytes: %v, want %v", c, n, err, cause)
				}
				_ = u.Close()
			}
		}
		u, err := New(t.Context(), c, emptyReads{}, plenty)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(u); !errors.Is(err, io.ErrNoProgress) {
			t.Errorf("%s: a source that brings nothing: %v", c, err)
		}
		_ = u.Close()
	}
}

// emptyReads never ends and never brings anything.
type emptyReads struct{}

func (emptyReads) Read([]byte) (int, error) { return 0, nil }

func TestSlowReaders(t *testing.T) {
	for _, in := range [][]byte{gz(t, []byte(disk)), file(t, "disk.zst"), file(t, "disk.xz"), file(t, "disk.bz2")} {
		u, err := New(t.Context(), Detect(in), iotest.DataErrReader(iotest.OneByteReader(bytes.NewReader(in))), plenty)
		if err != nil {
			t.Fatal(err)
		}
		if err := iotest.TestReader(u, []byte(disk)); err != nil {
			t.Error(err)
		}
		_ = u.Close()
	}
}

func TestCancel(t *testing.T) {
	why := errors.New("nobody wants it")
	ctx, cancel := context.WithCancelCause(t.Context())
	u, err := New(ctx, Gzip, endless(gz(t, make([]byte, 1<<20))), 1<<62)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = u.Close() }()
	if _, err := io.ReadFull(u, make([]byte, 10<<20)); err != nil {
		t.Fatal(err)
	}
	cancel(why)
	if _, err := io.Copy(io.Discard, u); !errors.Is(err, why) {
		t.Errorf("error %v, want %v", err, why)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	u, err := New(t.Context(), Gzip, endless(gz(t, make([]byte, 1<<20))), 1<<62)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := u.Close(); err != nil { // goleak tells when something is left
			t.Error(err)
		}
	}
}
