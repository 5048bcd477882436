package qcow2

import (
	"bytes"
	"encoding/binary"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
)

// made is qcow2 data made by hand. The L1 table is in cluster 1; everything else is where put says.
type made struct {
	version, bits, crypt, length uint32
	backing                      uint64
	size, features, l1Offset     uint64
	l1Size                       uint32 // 0: as many as l1 has
	compression                  byte
	l1                           []uint64
	extensions                   []byte
	parts                        map[int64][]byte
	cut                          int64 // length of the data; 0: whole clusters
}

// small is an image with clusters of 512 bytes and no data; a table describes 64 of them, which are 32 KiB.
func small(size uint64, l1 ...uint64) *made {
	return &made{version: 3, bits: 9, length: 104, size: size, l1Offset: 512, l1: l1}
}

// put puts bytes at an offset.
func (m *made) put(at int64, p []byte) *made {
	if m.parts == nil {
		m.parts = map[int64][]byte{}
	}
	m.parts[at] = p
	return m
}

// table puts a table at an offset.
func (m *made) table(at int64, entries ...uint64) *made { return m.put(at, be64(entries...)) }

// with returns the image after a change.
func (m *made) with(change func(m *made)) *made {
	change(m)
	return m
}

// bytes returns the data.
func (m *made) bytes() []byte {
	be := binary.BigEndian
	head := append([]byte(magic), be.AppendUint32(nil, m.version)...)
	head = be.AppendUint64(head, m.backing)
	head = be.AppendUint32(head, uint32(min(m.backing, 7)))
	head = be.AppendUint32(head, m.bits)
	head = be.AppendUint64(head, m.size)
	head = be.AppendUint32(head, m.crypt)
	count := m.l1Size
	if count == 0 {
		count = uint32(len(m.l1))
	}
	head = be.AppendUint32(head, count)
	head = be.AppendUint64(head, m.l1Offset)
	head = append(head, make([]byte, lengthV2-len(head))...)
	if m.version != 2 {
		head = be.AppendUint64(head, m.features)
		head = append(head, make([]byte, 16)...)
		head = be.AppendUint32(head, 4)
		head = be.AppendUint32(head, m.length)
		if m.length > lengthV3 {
			head = append(head, m.compression, 0, 0, 0, 0, 0, 0, 0)
		}
	}
	data := append(head, m.extensions...)
	place := func(at int64, p []byte) {
		if missing := at + int64(len(p)) - int64(len(data)); missing > 0 {
			data = append(data, make([]byte, missing)...)
		}
		copy(data[at:], p)
	}
	if m.l1Offset != 0 && m.l1Offset < 1<<30 {
		place(int64(m.l1Offset), be64(m.l1...))
	}
	for at, p := range m.parts {
		place(at, p)
	}
	if m.cut != 0 {
		return append(data, make([]byte, max(0, m.cut-int64(len(data))))...)[:m.cut]
	}
	if m.bits <= largestBits {
		place(int64(len(data)), make([]byte, -len(data)&(1<<m.bits-1)))
	}
	return data
}

func be64(values ...uint64) []byte {
	var p []byte
	for _, v := range values {
		p = binary.BigEndian.AppendUint64(p, v)
	}
	return p
}

// repeat returns an entry n times.
func repeat(n int, entry uint64) []uint64 {
	entries := make([]uint64, n)
	for i := range entries {
		entries[i] = entry
	}
	return entries
}

// packedAt is the L2 entry of a compressed cluster.
func packedAt(bits uint32, at, length int64) uint64 {
	sectors := (at+length-1)/sector - at/sector
	return flagCompressed | uint64(sectors)<<(70-bits) | uint64(at)
}

// deflated returns p as a raw deflate stream.
func deflated(p []byte) []byte {
	var out bytes.Buffer
	w, _ := flate.NewWriter(&out, 6) // the level is valid
	_, _ = w.Write(p)                // to memory
	_ = w.Close()
	return out.Bytes()
}

// frame returns p as a zstd frame.
func frame(p []byte) []byte {
	w, _ := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1)) // the options are valid
	return w.EncodeAll(p, nil)
}
