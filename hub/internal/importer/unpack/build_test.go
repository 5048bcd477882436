package unpack

import (
	"bytes"
	"os"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// disk is what the small files of testdata hold.
const disk = "a disk"

// file returns a file of testdata. They were made by xz 5.4, bzip2 1.0.8 and zstd 1.5 from disk, from nothing (empty.*), and
// from 16 MiB of zeroes (zeros.*); their names tell the options.
func file(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// gz compresses p as one member.
func gz(tb testing.TB, p []byte) []byte {
	tb.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(p); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// zst compresses p as one frame.
func zst(tb testing.TB, p []byte, opts ...zstd.EOption) []byte {
	tb.Helper()
	w, err := zstd.NewWriter(nil, append([]zstd.EOption{zstd.WithEncoderConcurrency(1)}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	out := w.EncodeAll(p, nil)
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return out
}

// join returns all parts in a row.
func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
