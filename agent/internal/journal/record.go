package journal

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// A file is a header and records of fixed length. Header: magic, content id, CRC-32C of both. Record: chunk index,
// digest (all zeroes: forget the chunk), sum (0: unknown), CRC-32C that continues the header's. Integers are big endian.
// The first version has no sums; it is read, and written anew in the second.
const (
	magic         = "atolljn2"
	oldMagic      = "atolljn1"
	idSize        = 36
	headerSize    = len(magic) + idSize + 4
	recordSize    = 4 + manifest.DigestSize + 8 + 4
	oldRecordSize = 4 + manifest.DigestSize + 4
	// maxRecords bounds what is read of a file: every chunk of the largest image, written twice.
	maxRecords = 2 * manifest.MaxChunks
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func header(content image.ID) (b []byte, seed uint32) { return headerOf(magic, content) }

func headerOf(magic string, content image.ID) (b []byte, seed uint32) {
	b = append(make([]byte, 0, headerSize), magic...)
	b = append(b, content...)
	seed = crc32.Checksum(b, castagnoli)
	return binary.BigEndian.AppendUint32(b, seed), seed
}

func appendRecord(b []byte, seed uint32, i int, e entry) []byte {
	start := len(b)
	b = binary.BigEndian.AppendUint32(b, uint32(i))
	b = append(b, e.digest[:]...)
	b = binary.BigEndian.AppendUint64(b, e.sum)
	return binary.BigEndian.AppendUint32(b, crc32.Update(seed, castagnoli, b[start:]))
}

// loaded is what a file yielded.
type loaded struct {
	live    *table
	records int  // records read, good or not
	bad     int  // records that were damaged
	torn    bool // bytes that make no whole record stood at the end
	old     bool // the file is of the first version
}

// decode reads a journal of a content. It fails with Corrupt when the header is damaged or names another content; damaged
// records are skipped. Memory is bounded by the number of bytes read.
func decode(r io.Reader, content image.ID) (loaded, error) {
	out := loaded{live: newTable()}
	br := bufio.NewReaderSize(r, 64<<10)
	want, seed := header(content)
	older, oldSeed := headerOf(oldMagic, content)
	size := recordSize
	got := make([]byte, headerSize)
	_, err := io.ReadFull(br, got)
	switch {
	case err == nil && string(got) == string(want):
	case err == nil && string(got) == string(older):
		out.old, seed, size = true, oldSeed, oldRecordSize
	default:
		return out, fault.Wrap(err, fault.Corrupt, "JOURNAL", "the journal is damaged or belongs to another content")
	}
	rec := make([]byte, size)
	for out.records < maxRecords {
		switch _, err := io.ReadFull(br, rec); {
		case errors.Is(err, io.EOF):
			return out, nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			out.torn = true
			return out, nil
		case err != nil:
			return out, fault.Wrap(err, fault.Internal, "JOURNAL", "the journal cannot be read")
		}
		out.records++
		body, sum := rec[:size-4], binary.BigEndian.Uint32(rec[size-4:])
		i := binary.BigEndian.Uint32(body)
		if crc32.Update(seed, castagnoli, body) != sum || i >= manifest.MaxChunks {
			out.bad++
			continue
		}
		e := entry{digest: manifest.Digest(body[4 : 4+manifest.DigestSize])}
		if !out.old {
			e.sum = binary.BigEndian.Uint64(body[4+manifest.DigestSize:])
		}
		out.live.set(int(i), e)
	}
	return out, nil
}
