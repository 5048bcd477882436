package unpack

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/atoll-dcn/atoll/hub/internal/convert"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

// FuzzUnpack gives every format any data: it ends, within its limit, with an error that users can be told.
func FuzzUnpack(f *testing.F) {
	for _, name := range []string{
		"disk.xz", "sha256.xz", "x86.xz", "dict96m.xz", "empty.xz", "disk.bz2", "empty.bz2", "zeros.bz2", "disk.zst",
	} {
		f.Add(file(f, name))
	}
	f.Add(gz(f, []byte(disk)))
	f.Add(join(gz(f, nil), gz(f, []byte(disk)), make([]byte, 4)))
	f.Add(zst(f, bytes.Repeat([]byte(disk), 1000)))
	const most = 1 << 20
	f.Fuzz(func(t *testing.T, in []byte) {
		c := Detect(in[:min(HeadSize, len(in))])
		if c == None {
			return
		}
		u, err := New(t.Context(), c, bytes.NewReader(in), most)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, u)
		if n > most {
			t.Errorf("%d bytes came out", n)
		}
		e, ok := fault.As(err)
		switch {
		case err != nil && !ok, ok && e.Class != fault.Invalid && e.Class != fault.Exhausted:
			t.Errorf("error %v", err)
		case ok && e.Reason == convert.ReasonDamaged && errors.Is(err, errPanic):
			t.Errorf("a decompressor panicked: %v", err)
		}
		_ = u.Close()
	})
}
