package unpack

import (
	"bytes"
	"io"
	"testing"

	"github.com/atoll-dcn/atoll/hub/internal/convert"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

// loop repeats data for ever and counts what was read.
type loop struct {
	data []byte
	at   int
	n    int64
}

func (l *loop) Read(p []byte) (int, error) {
	n := copy(p, l.data[l.at:])
	l.at = (l.at + n) % len(l.data)
	l.n += int64(n)
	return n, nil
}

func endless(data []byte) *loop { return &loop{data: data} }

// TestRow39Bombs gives data that unpacks to 10 GiB and more: unpacking ends at the limit, having read what that took.
func TestRow39Bombs(t *testing.T) {
	const most = 8 << 20
	zeros := make([]byte, 4<<20)
	skippable := join([]byte("\x28\xb5\x2f\xfd\x00\x58\x01\x00\x00\x50\x2a\x4d\x18\x00\x10\x00\x00"), make([]byte, 4096))
	tests := map[string]struct {
		in   []byte
		read int64 // the most that may have been read of it
	}{
		"gzip":            {gz(t, zeros), 1 << 20},
		"gzip in gzip":    {gz(t, bytes.Repeat(gz(t, zeros), 64)), most + most/64 + 2<<20},
		"zstd":            {zst(t, zeros), 1 << 20},
		"xz":              {file(t, "zeros.xz"), 1 << 20},
		"bzip2":           {file(t, "zeros.bz2"), 1 << 20},
		"empty gzip":      {gz(t, nil), most + most/64 + 2<<20},
		"empty zstd":      {[]byte("\x28\xb5\x2f\xfd\x00\x58\x01\x00\x00"), most + most/64 + 2<<20},
		"skippable zstd":  {skippable, most + most/64 + 2<<20},
		"gzip and zeroes": {nil, most + most/64 + 2<<20},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			src := endless(tt.in)
			r := io.Reader(src)
			if tt.in == nil {
				src = endless(make([]byte, 4096))
				r = io.MultiReader(bytes.NewReader(gz(t, []byte(disk))), src)
			}
			head := make([]byte, HeadSize)
			if _, err := io.ReadFull(r, head); err != nil {
				t.Fatal(err)
			}
			u, err := New(t.Context(), Detect(head), io.MultiReader(bytes.NewReader(head), r), most)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = u.Close() }()
			n, err := io.Copy(io.Discard, u)
			if !fault.Is(err, fault.Exhausted) || fault.ReasonOf(err) != convert.ReasonTooLarge {
				t.Errorf("after %d bytes: %v", n, err)
			}
			if n > most || src.n > tt.read {
				t.Errorf("%d bytes out of %d in, want at most %d out of %d", n, src.n, int64(most), tt.read)
			}
		})
	}
}

func TestExactlyTheLimit(t *testing.T) {
	for _, size := range []int{chunkSize - 1, chunkSize, chunkSize + 1, 3 * chunkSize} {
		in := gz(t, make([]byte, size))
		if got, err := unpackAll(t, in, int64(size)); err != nil || len(got) != size {
			t.Errorf("%d bytes with that limit: %d, %v", size, len(got), err)
		}
		if _, err := unpackAll(t, in, int64(size)-1); fault.ReasonOf(err) != convert.ReasonTooLarge {
			t.Errorf("%d bytes with a limit one below: %v", size, err)
		}
	}
	if _, err := unpackAll(t, gz(t, []byte(disk)), 1<<63-1); err != nil {
		t.Errorf("no limit: %v", err)
	}
}
