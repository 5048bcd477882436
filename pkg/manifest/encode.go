package manifest

import (
	"encoding/binary"
	"io"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// Encoder writes a manifest stream. Runs of zero chunks are joined, so call Flush before waiting for more chunks. It
// issues one small Write per record; give it a buffered writer. Not safe for concurrent use. After an error of the
// writer all calls return that error.
type Encoder struct {
	w     io.Writer
	first int
	begun bool
	zeros int // pending
	next  int
	err   error
	buf   [headerSize + 1 + 8 + DigestSize]byte
}

// NewEncoder returns an encoder for a stream that describes the chunks from number first on; 0 for a whole manifest.
// Nothing is written before the first call.
func NewEncoder(w io.Writer, first int) *Encoder { return &Encoder{w: w, first: first, next: first} }

// Append describes the next chunk.
func (e *Encoder) Append(d Digest) error {
	if e.err != nil {
		return e.err
	}
	if e.next >= MaxChunks {
		return tooLong()
	}
	if d.IsZero() {
		e.zeros++
		e.next++
		return nil
	}
	if err := e.Flush(); err != nil {
		return err
	}
	e.next++
	return e.write(append(append(e.buf[:0], tagChunk), d[:]...))
}

// Flush writes the header and any pending run of zeroes. It does not flush the underlying writer.
func (e *Encoder) Flush() error {
	if e.err != nil {
		return e.err
	}
	if !e.begun {
		if e.first < 0 || e.first > MaxChunks {
			e.err = tooLong()
			return e.err
		}
		e.begun = true
		b := append(e.buf[:0], magic...)
		b = binary.BigEndian.AppendUint32(b, ChunkSize)
		if err := e.write(binary.BigEndian.AppendUint32(b, uint32(e.first))); err != nil {
			return err
		}
	}
	if e.zeros == 0 {
		return nil
	}
	b := binary.BigEndian.AppendUint32(append(e.buf[:0], tagZeros), uint32(e.zeros))
	e.zeros = 0
	return e.write(b)
}

// KeepAlive tells the reader that the content has not grown but that the writer is alive.
func (e *Encoder) KeepAlive() error { return e.tag(tagKeepAlive) }

// Gone ends the stream of a content whose source failed.
func (e *Encoder) Gone() error { return e.tag(tagGone) }

func (e *Encoder) tag(t byte) error {
	if err := e.Flush(); err != nil {
		return err
	}
	return e.write(append(e.buf[:0], t))
}

// End ends the stream of a complete content. It returns a Corrupt error when the length does not fit the chunks described.
func (e *Encoder) End(end End) error {
	if e.err != nil {
		return e.err
	}
	if err := checkEnd(end.Length, e.next); err != nil {
		return err
	}
	if err := e.Flush(); err != nil {
		return err
	}
	b := binary.BigEndian.AppendUint64(append(e.buf[:0], tagEnd), uint64(end.Length))
	return e.write(append(b, end.Root[:]...))
}

func (e *Encoder) write(b []byte) error {
	if e.err == nil {
		_, e.err = e.w.Write(b)
	}
	return e.err
}

// Write writes m as a stored manifest and returns its root digest.
func Write(w io.Writer, m *Manifest, sum func([]byte) Digest) (Digest, error) {
	if err := m.Check(); err != nil {
		return Digest{}, err
	}
	e := NewEncoder(w, 0)
	for _, d := range m.Chunks {
		if err := e.Append(d); err != nil {
			return Digest{}, err
		}
	}
	root := m.Root(sum)
	return root, e.End(End{Length: m.Length, Root: root})
}

func tooLong() error {
	return fault.New(fault.Invalid, "CONTENT_TOO_LONG", "a content has at most %d chunks", MaxChunks)
}

func checkEnd(length int64, chunks int) error {
	if length < 1 || length > MaxLength || Count(length) != chunks {
		return fault.New(fault.Corrupt, "BAD_MANIFEST", "manifest of %d chunks does not fit a length of %d bytes", chunks, length)
	}
	return nil
}
