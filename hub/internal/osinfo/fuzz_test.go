package osinfo

import (
	"context"
	"testing"
)

// edited is a disk with a few other bytes than the one below.
type edited struct {
	watched
	bytes map[int64]byte
}

func (e *edited) ReadAt(p []byte, off int64) (int, error) {
	n, err := e.watched.ReadAt(p, off)
	for i := range p[:n] {
		if b, ok := e.bytes[off+int64(i)]; ok {
			p[i] = b
		}
	}
	return n, err
}

// FuzzDetect edits disks where something is read of them: it ends, within its limits, and what it answers looks like an answer.
// Each edit is 5 bytes: which sector of those that are read, the place in it, and the new byte.
func FuzzDetect(f *testing.F) {
	var disks [][]byte
	var sectors [][]int64
	for i, name := range bases {
		w := &watched{data: base(f, name), read: map[int64]bool{}}
		if got := w.look(f); got != "debian 12" {
			f.Fatalf("%s: %q", name, got)
		}
		var read []int64
		for s := range int64(len(w.data) / 512) {
			if w.read[s] {
				read = append(read, s)
			}
		}
		disks, sectors = append(disks, w.data), append(sectors, read)
		f.Add(uint8(i), []byte{0, 3, 0, 0, 1})
	}
	f.Fuzz(func(t *testing.T, which uint8, edits []byte) {
		n := int(which) % len(disks)
		e := &edited{watched: watched{data: disks[n]}, bytes: map[int64]byte{}}
		for ; len(edits) >= 5 && len(e.bytes) < 256; edits = edits[5:] {
			sector := sectors[n][int(le.Uint16(edits))%len(sectors[n])]
			e.bytes[sector*512+int64(le.Uint16(edits[2:])%512)] = edits[4]
		}
		distro, version := Detect(context.Background(), e, int64(len(e.data)))
		if e.n > maxBytes {
			t.Errorf("%d bytes were read", e.n)
		}
		if distro == "" && version != "" || distro != "" && !plain.MatchString(distro) || version != "" && !plain.MatchString(version) {
			t.Errorf("%q, %q", distro, version)
		}
	})
}

// FuzzDisk gives any disk.
func FuzzDisk(f *testing.F) {
	for _, name := range []string{"ext4", "gpt", "dos"} {
		f.Add(base(f, name)[:8<<10])
	}
	f.Fuzz(func(t *testing.T, disk []byte) {
		w := &watched{data: disk}
		w.look(t)
	})
}
