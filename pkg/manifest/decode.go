package manifest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// Decoder reads a manifest stream record by record in constant memory. Not safe for concurrent use.
type Decoder struct {
	r     *bufio.Reader
	first int
	begun bool
	next  int
	done  error // what Next returns from now on
}

// NewDecoder returns a decoder that reads from r, beyond the end of the manifest at most by what its buffer holds.
func NewDecoder(r io.Reader) *Decoder { return &Decoder{r: bufio.NewReader(r)} }

// First returns the number of the first chunk that the stream describes. It blocks until the header has been read.
func (d *Decoder) First() (int, error) {
	if err := d.begin(); err != nil {
		return 0, err
	}
	return d.first, nil
}

// Next returns the next record and blocks until there is one. After the record with End it returns io.EOF. Errors:
// Corrupt (BAD_MANIFEST) when the bytes are no manifest, Precondition (ReasonGone) when the source failed, an error that
// wraps io.ErrUnexpectedEOF when the stream is cut, else the reader's error. After an error all calls return it.
func (d *Decoder) Next() (Record, error) {
	if err := d.begin(); err != nil {
		return Record{}, err
	}
	for d.done == nil {
		tag, err := d.r.ReadByte()
		if err != nil {
			return Record{}, d.fail(cut(err))
		}
		switch tag {
		case tagKeepAlive:
		case tagChunk:
			var rec Record
			if _, err := io.ReadFull(d.r, rec.Digest[:]); err != nil {
				return Record{}, d.fail(cut(err))
			}
			if rec.Digest.IsZero() {
				return Record{}, d.fail(corrupt("a chunk with data has no digest"))
			}
			return d.advance(rec, 1)
		case tagZeros:
			var b [4]byte
			if _, err := io.ReadFull(d.r, b[:]); err != nil {
				return Record{}, d.fail(cut(err))
			}
			return d.advance(Record{}, binary.BigEndian.Uint32(b[:]))
		case tagGone:
			return Record{}, d.fail(fault.New(fault.Precondition, ReasonGone, "the source of the content failed"))
		case tagEnd:
			return d.end()
		default:
			return Record{}, d.fail(corrupt("unknown record"))
		}
	}
	return Record{}, d.done
}

func (d *Decoder) begin() error {
	if d.begun {
		return nil
	}
	if d.done != nil {
		return d.done
	}
	var b [headerSize]byte
	if _, err := io.ReadFull(d.r, b[:]); err != nil {
		return d.fail(cut(err))
	}
	size, first := binary.BigEndian.Uint32(b[len(magic):]), binary.BigEndian.Uint32(b[len(magic)+4:])
	if string(b[:len(magic)]) != magic || size != ChunkSize || first > MaxChunks {
		return d.fail(corrupt("bad header"))
	}
	d.begun, d.first, d.next = true, int(first), int(first)
	return nil
}

func (d *Decoder) advance(rec Record, count uint32) (Record, error) {
	if count < 1 || int64(count) > int64(MaxChunks-d.next) {
		return Record{}, d.fail(corrupt("too many chunks or an empty run"))
	}
	rec.Index, rec.Count = d.next, int(count)
	d.next += rec.Count
	return rec, nil
}

func (d *Decoder) end() (Record, error) {
	var b [8 + DigestSize]byte
	if _, err := io.ReadFull(d.r, b[:]); err != nil {
		return Record{}, d.fail(cut(err))
	}
	end := &End{Root: Digest(b[8:])}
	if n := binary.BigEndian.Uint64(b[:8]); n <= uint64(MaxLength) {
		end.Length = int64(n)
	}
	if err := checkEnd(end.Length, d.next); err != nil {
		return Record{}, d.fail(err)
	}
	d.done = io.EOF
	return Record{Index: d.next, End: end}, nil
}

func (d *Decoder) fail(err error) error {
	d.done = err
	return err
}

// Read reads a whole manifest, which must end where r ends, and checks its root digest. It holds one digest per chunk in
// memory. Errors are those of Decoder.Next; Corrupt also when the root differs, chunks are missing or bytes follow.
func Read(r io.Reader, sum func([]byte) Digest) (*Manifest, Digest, error) {
	return read(r, MaxChunks, sum)
}

// MaxEncoded returns the length of the longest stored manifest of a content of length bytes.
func MaxEncoded(length int64) int64 {
	const perChunk = 1 + DigestSize
	return int64(headerSize) + int64(Count(length))*perChunk + 1 + 8 + DigestSize
}

// ReadSized is Read for a content of length bytes; Corrupt also when the manifest describes another length. What it holds
// in memory is bounded by the length.
func ReadSized(r io.Reader, length int64, sum func([]byte) Digest) (*Manifest, Digest, error) {
	m, root, err := read(r, Count(length), sum)
	if err == nil && m.Length != length {
		err = corrupt("it describes another length")
	}
	return m, root, err
}

func read(r io.Reader, most int, sum func([]byte) Digest) (*Manifest, Digest, error) {
	d := NewDecoder(r)
	if first, err := d.First(); err != nil {
		return nil, Digest{}, err
	} else if first != 0 {
		return nil, Digest{}, corrupt("it does not begin at the first chunk")
	}
	m := &Manifest{}
	for {
		rec, err := d.Next()
		if err != nil {
			return nil, Digest{}, err
		}
		if rec.Count > most-len(m.Chunks) {
			return nil, Digest{}, corrupt("it describes more chunks than the content has")
		}
		for range rec.Count {
			m.Chunks = append(m.Chunks, rec.Digest)
		}
		if rec.End == nil {
			continue
		}
		m.Length = rec.End.Length
		if _, err := d.r.ReadByte(); !errors.Is(err, io.EOF) {
			return nil, Digest{}, corrupt("bytes follow its end")
		}
		return m, rec.End.Root, m.Verify(rec.End.Root, sum)
	}
}

// Verify returns a Corrupt error unless root is the root digest of m.
func (m *Manifest) Verify(root Digest, sum func([]byte) Digest) error {
	if err := m.Check(); err != nil {
		return err
	}
	if m.Root(sum) != root {
		return corrupt("its root digest differs from its chunks")
	}
	return nil
}

func corrupt(what string) error {
	return fault.New(fault.Corrupt, "BAD_MANIFEST", "manifest: %s", what)
}

// cut turns the end of the input in the middle of a manifest into io.ErrUnexpectedEOF.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
