package inspect

import (
	"bytes"
	"slices"
	"testing"
)

// FuzzInspector checks that nothing makes an inspector fail, keep much, or depend on how the data is cut.
func FuzzInspector(f *testing.F) {
	for _, data := range everything() {
		data = bytes.Clone(data)
		for _, at := range []int{0, len(data) / 2} { // small seeds: the fuzzer adds zeros itself
			if len(data)-at < 4<<10 {
				f.Add(data[at:], uint16(0), uint16(100))
			}
		}
		f.Add(data[:min(len(data), 2048)], uint16(64), uint16(4000))
	}
	f.Fuzz(func(t *testing.T, data []byte, zeros, piece uint16) {
		data = append(bytes.Clone(data), make([]byte, 1024*int(zeros%2048))...)
		whole := look(data, 1<<22)
		var in Inspector
		for p := range slices.Chunk(data, max(int(piece), 1+len(data)/64)) {
			_, _ = in.Write(p)
			if in.kept() > 300<<10 {
				t.Fatalf("%d bytes are kept", in.kept())
			}
		}
		parts := in.Finish()
		if !slices.Equal(whole.Formats, parts.Formats) || whole.Unsafe != parts.Unsafe || whole.VirtualSize() != parts.VirtualSize() {
			t.Fatalf("%+v at once, %+v in pieces", whole, parts)
		}
		if whole.VirtualSize() < 0 || whole.Size != int64(len(data)) {
			t.Fatalf("%+v", whole)
		}
		if format, one := whole.Format(); one && whole.Unsafe == "" && format != Raw && whole.Check(string(format)) != nil {
			t.Fatalf("%s is not %s", format, format)
		}
	})
}
