package qcow2

import (
	"bytes"
	"encoding/binary"
	"io"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
)

// model reads the byte of the disk at an offset in the way the specification tells it, a byte at a time, without anything that the
// reader uses. It knows images that the reader has opened. good is false when the byte cannot be read.
type model struct {
	data []byte
	last struct { // cluster unpacked last
		entry uint64
		data  []byte
		good  bool
	}
}

func (m *model) u32(at int) uint64 { return uint64(binary.BigEndian.Uint32(m.data[at:])) }

// u64 returns 8 bytes of a table.
func (m *model) u64(at uint64) (uint64, bool) {
	if at > uint64(len(m.data)) || uint64(len(m.data))-at < 8 {
		return 0, false
	}
	return binary.BigEndian.Uint64(m.data[at:]), true
}

// features returns the incompatible features.
func (m *model) features() uint64 {
	if m.u32(4) == 2 {
		return 0
	}
	f, _ := m.u64(72)
	return f
}

func (m *model) at(offset uint64) (value byte, good bool) {
	cluster := uint64(1) << m.u32(20)
	width := uint64(8)
	if m.features()>>4&1 == 1 {
		width = 16
	}
	number := offset / cluster
	entries := cluster / width
	l1, _ := m.u64(40)
	l2, ok := m.u64(l1 + number/entries*8)
	if l2 = l2 & 0xfffffffffffe00; !ok || l2%cluster != 0 {
		return 0, false
	}
	if l2 == 0 {
		return 0, true
	}
	entry, ok := m.u64(l2 + number%entries*width)
	if !ok {
		return 0, false
	}
	if entry>>62&1 == 1 {
		return m.unpacked(entry, cluster, offset%cluster)
	}
	return m.standard(entry, l2+number%entries*width+8, cluster, offset%cluster)
}

func (m *model) standard(entry, bitmapAt, cluster, within uint64) (byte, bool) {
	host := entry & 0xfffffffffffe00
	if host%cluster != 0 {
		return 0, false
	}
	allocated := host != 0
	if m.features()>>4&1 == 1 {
		bitmap, ok := m.u64(bitmapAt)
		if !ok || bitmap&(bitmap>>32)&0xffffffff != 0 || host == 0 && bitmap&0xffffffff != 0 {
			return 0, false
		}
		allocated = bitmap>>(within*32/cluster)&1 == 1
	} else if entry&1 == 1 {
		return 0, m.u32(4) == 3
	}
	if !allocated {
		return 0, true
	}
	end := uint64(len(m.data))
	switch {
	case host+within < end:
		return m.data[host+within], true
	case host < end && end%512 == 0:
		return 0, true
	}
	return 0, false
}

func (m *model) unpacked(entry, cluster, within uint64) (byte, bool) {
	if m.last.data == nil || m.last.entry != entry {
		m.last.entry = entry
		m.last.data, m.last.good = make([]byte, cluster), false
		x := 62 - (m.u32(20) - 8)
		at := entry & (1<<x - 1)
		sectors := entry&(1<<62-1)>>x + 1
		if at < uint64(len(m.data)) {
			p := m.data[at:min(uint64(len(m.data)), at/512*512+sectors*512)]
			var r io.Reader = flate.NewReader(bytes.NewReader(p))
			if m.features()>>3&1 == 1 {
				d, _ := zstd.NewReader(bytes.NewReader(p), zstd.WithDecoderConcurrency(1)) // the options are valid
				defer d.Close()
				r = d
			}
			_, err := io.ReadFull(r, m.last.data)
			m.last.good = err == nil
		}
	}
	return m.last.data[within], m.last.good
}

// disk reads a whole disk. good is false when a byte of it cannot be read; then disk ends before it.
func (m *model) disk(size int64) (disk []byte, good bool) {
	for at := range size {
		b, good := m.at(uint64(at))
		if !good {
			return disk, false
		}
		disk = append(disk, b)
	}
	return disk, true
}
