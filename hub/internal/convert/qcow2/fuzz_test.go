package qcow2

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/atoll-dcn/atoll/hub/internal/convert"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

const mostFuzz = 40 << 10 // bytes of disk

// check opens and converts data, and compares the outcome with the model.
func check(t *testing.T, data []byte) {
	t.Helper()
	img, err := Open(source(data), mostFuzz)
	if err != nil {
		if reason := fault.ReasonOf(err); reason != convert.ReasonDamaged && reason != convert.ReasonUnsafe && reason != convert.ReasonTooLarge {
			t.Fatalf("opening: %v", err)
		}
		return
	}
	if img.Size() < 0 || img.Size() > mostFuzz {
		t.Fatalf("%d bytes", img.Size())
	}
	got := &disk{}
	err = img.WriteTo(t.Context(), got)
	if err != nil && fault.ReasonOf(err) != convert.ReasonDamaged {
		t.Fatalf("converting: %v", err)
	}
	if err == nil && int64(got.Len()) != img.Size() {
		t.Fatalf("%d bytes of a disk of %d", got.Len(), img.Size())
	}
	m := &model{data: data}
	want, good := m.disk(img.Size())
	if zstd := m.features()>>3&1 == 1; good != (err == nil) && !zstd { // the model does not look for the end of frames
		t.Fatalf("%v; the model could read it: %v", err, good)
	}
	if err == nil && good && !bytes.Equal(got.Bytes(), want) {
		t.Fatal("the disk differs from the model's")
	}
}

// FuzzOpen gives the reader anything.
func FuzzOpen(f *testing.F) {
	for _, m := range seeds() {
		f.Add(m.bytes())
	}
	f.Fuzz(check)
}

// FuzzTables gives the reader tables and data behind a header that is right. Entries are made of two bytes each, so that most of them
// point into the data.
func FuzzTables(f *testing.F) {
	f.Add(byte(0), uint32(3000), []byte{2, 0}, []byte{3, 0, 1, 3, 3, 4}, noise(600, 1))
	f.Add(byte(1), uint32(3000), []byte{2, 0}, []byte{3, 2}, deflated(text(512, 1)))
	f.Add(byte(3), uint32(3000), []byte{2, 0}, []byte{3, 2}, frame(make([]byte, 512)))
	f.Add(byte(4), uint32(40000), []byte{2, 0}, []byte{3, 0, 0x55, 0xaa, 3, 8, 1, 1}, noise(2000, 1))
	f.Fuzz(func(t *testing.T, kind byte, size uint32, l1, l2, data []byte) {
		m := small(uint64(size)%(mostFuzz+1), entries(l1, 9)...).with(func(m *made) { m.version = 2 + uint32(kind&1) })
		if kind&7 == 3 {
			m = m.with(asZstd)
		}
		if kind&7 >= 4 {
			m.version, m.bits, m.features, m.l1, m.l1Offset = 3, 14, featureExtended, entries(l1, 14), 1<<14
		}
		m.l1Size = 1 << 20
		m.table(2<<m.bits, entries(l2, m.bits)...).put(3<<m.bits, data)
		if kind&8 != 0 {
			m.cut = 3<<m.bits + int64(len(data))
		}
		check(t, m.bytes())
	})
}

// entries makes table entries of pairs of bytes: a cluster, and flags or an offset within it.
func entries(p []byte, bits uint32) []uint64 {
	var all []uint64
	for ; len(p) >= 2; p = p[2:] {
		entry := uint64(p[0]%8) << bits
		switch p[1] % 8 {
		case 1:
			entry |= flagZero
		case 2, 3:
			entry = packedAt(bits, int64(entry)+int64(p[1]/16), 512*int64(1+p[1]%2))
		case 4:
			entry |= 1 << 63
		case 5:
			entry = uint64(binary.BigEndian.Uint16(p)) * 0x0001000100010001
		case 6:
			entry += 512 * uint64(p[1]/16)
		}
		all = append(all, entry)
	}
	return all
}

// seeds are images of all kinds.
func seeds() []*made {
	data, words := noise(512, 1), text(512, 2)
	large := &made{version: 3, bits: 14, length: 104, features: featureExtended, size: 40 << 10, l1Offset: 1 << 14, l1: []uint64{2 << 14}}
	return []*made{
		small(0),
		small(32<<10, 1024).table(1024, 1536, 0, 1, 2048, 2560).put(1536, data).put(2048, words).put(2560, data),
		small(32<<10, 1024).table(1024, 1536).put(1536, data).with(func(m *made) { m.version = 2 }),
		small(1000, 1024).table(1024, packedAt(9, 1537, 600), packedAt(9, 2200, 600)).put(1537, deflated(data)).put(2200, deflated(words)),
		small(1000, 1024).table(1024, packedAt(9, 1537, 600), packedAt(9, 2200, 600)).put(1537, frame(data)).put(2200, frame(words)).with(asZstd),
		large.table(2<<14, 3<<14, 0xf0f0<<32|0x0f0f, 0, 0, packedAt(14, 4<<14, 500)).put(3<<14, noise(1<<14, 3)).
			put(4<<14, deflated(make([]byte, 1<<14))),
		small(512, 0).with(func(m *made) { m.extensions = extension(0x6803f857, make([]byte, 96)) }),
	}
}

// The images that fuzzing begins with are what the model says.
func TestModel(t *testing.T) {
	t.Parallel()
	for _, m := range seeds() {
		check(t, m.bytes())
	}
	image, want, _ := inOrder()
	m := &model{data: image}
	for at := 0; at < len(want); at += 65521 {
		if b, good := m.at(uint64(at)); !good || b != want[at] {
			t.Fatalf("byte %d is %#x, %v; want %#x", at, b, good, want[at])
		}
	}
}
