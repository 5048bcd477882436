package qcow2

import (
	"context"
	"encoding/binary"
)

// l1Piece is how much of the L1 table is read at once, in bytes.
const l1Piece = 64 << 10

// tables reads the tables of an image in the order of the disk, each when it is needed.
type tables struct {
	*Image
	l1       []byte // a piece of the L1 table
	l2       []byte // an L2 table, as far as the disk needs it
	l2Offset int64  // where l2 is; 0 for none
}

// walk reports the whole disk. It blocks where the source does.
func (t *tables) walk(ctx context.Context, to layout) error {
	h := &t.header
	for index := range h.l1Entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		entry, err := t.l1Entry(index)
		if err != nil {
			return err
		}
		n := min(h.coverage(), h.size-index*h.coverage())
		if entry&offsetMask == 0 {
			to.hole(n)
			continue
		}
		if err := t.loadL2(int64(entry&offsetMask), n); err != nil {
			return err
		}
		if err := t.walkL2(n, to); err != nil {
			return err
		}
	}
	return nil
}

// walkL2 reports the n bytes of disk that the L2 table describes.
func (t *tables) walkL2(n int64, to layout) error {
	h := &t.header
	size := h.entrySize()
	for at := int64(0); at < n; at += h.cluster() {
		entry := t.l2[at>>h.bits*size:]
		var bitmap uint64
		if h.extended {
			bitmap = binary.BigEndian.Uint64(entry[8:])
		}
		if err := h.lay(binary.BigEndian.Uint64(entry), bitmap, min(h.cluster(), n-at), to); err != nil {
			return err
		}
	}
	return nil
}

// l1Entry returns an entry of the L1 table. Entries are asked for in order.
func (t *tables) l1Entry(index int64) (uint64, error) {
	at := index * 8 % l1Piece
	if at == 0 {
		n := min(l1Piece, (t.header.l1Entries-index)*8)
		if t.l1 == nil {
			t.l1 = make([]byte, n)
		}
		t.l1 = t.l1[:n]
		if err := t.readTable(t.l1, t.header.l1+index*8, "L1 table"); err != nil {
			return 0, err
		}
	}
	return binary.BigEndian.Uint64(t.l1[at:]), nil
}

// loadL2 reads the entries of an L2 table for n bytes of disk.
func (t *tables) loadL2(offset, n int64) error {
	h := &t.header
	if offset&(h.cluster()-1) != 0 {
		return damaged("an L2 table is not where one can be")
	}
	need := int(((n-1)>>h.bits + 1) * h.entrySize())
	if t.l2Offset == offset && len(t.l2) >= need {
		return nil
	}
	if t.l2 == nil {
		t.l2 = make([]byte, need) // no later table needs more
	}
	t.l2, t.l2Offset = t.l2[:need], 0
	if err := t.readTable(t.l2, offset, "L2 tables"); err != nil {
		return err
	}
	t.l2Offset = offset
	return nil
}
