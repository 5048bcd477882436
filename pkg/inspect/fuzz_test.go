package inspect

import (
	"bytes"
	"reflect"
	"slices"
	"testing"
)

// FuzzInspector checks that nothing makes an inspector fail, keep much, or depend on how the data is cut.
func FuzzInspector(f *testing.F) {
	for _, data := range everything() {
		f.Add(data[:min(len(data), 2048)], []byte(nil), byte(8))
	}
	f.Add(vmdkImage(descriptorText, true)[:2048], vmdkImage(descriptorText, true)[256*sector:], byte(9))
	f.Add(isoImage()[:100], vhdFoot(vhdFixed, 1<<16), byte(33))
	f.Fuzz(func(t *testing.T, head, tail []byte, zeros byte) {
		check(t, slices.Concat(head, make([]byte, 4096*int(zeros%32)), tail))
	})
}

// FuzzVHDX puts tables where a VHDX has them, with the sums that they should have.
func FuzzVHDX(f *testing.F) {
	const metadata = 2 << 20
	p := vhdxImage(append(slices.Clone(vhdxItemsOfDisk), item{vhdxParent, 65 << 10, 100, 4}), nil)
	f.Add(p[vhdxTable1:vhdxTable1+100], p[metadata:metadata+200], p[metadata+64<<10:metadata+64<<10+32])
	f.Fuzz(func(t *testing.T, regions, items, values []byte) {
		p := vhdxImage(nil, nil)[:metadata+200<<10]
		copy(p[vhdxTable1:vhdxTable1+vhdxTable], regions)
		copy(p[metadata:metadata+vhdxTable], items)
		copy(p[metadata+vhdxTable:], values)
		vhdxSeal(p)
		copy(p[vhdxTable2:], p[vhdxTable1:vhdxTable1+vhdxTable])
		check(t, p)
	})
}

// check looks at data at once and in pieces.
func check(t *testing.T, data []byte) {
	t.Helper()
	if len(data) == 0 {
		return
	}
	whole := look(data, 1<<22)
	var in Inspector
	for p := range slices.Chunk(data, 1+len(data)/7) {
		_, _ = in.Write(bytes.Clone(p))
		if in.kept() > 300<<10 {
			t.Fatalf("%d bytes are kept", in.kept())
		}
	}
	parts := in.Finish()
	if !slices.Equal(whole.Formats, parts.Formats) || whole.Unsafe != parts.Unsafe || whole.VirtualSize() != parts.VirtualSize() {
		t.Fatalf("%+v at once, %+v in pieces", whole, parts)
	}
	if random, err := Look(bytes.NewReader(data), int64(len(data))); err != nil || !reflect.DeepEqual(random, whole) {
		t.Fatalf("%+v, %v at random, %+v in order", random, err, whole)
	}
	if whole.VirtualSize() < 0 || whole.Size != int64(len(data)) {
		t.Fatalf("%+v", whole)
	}
	if format, one := whole.Format(); one && whole.Unsafe == "" && whole.Check(string(format)) != nil {
		t.Fatalf("%s is not %s", format, format)
	}
}
