package nbd

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrProtocol is what Serve returns when the client does what the protocol or the export does not allow.
var ErrProtocol = errors.New("the NBD client breaks the rules")

// ErrGone is what Serve returns when the client goes without saying so.
var ErrGone = errors.New("the NBD client is gone")

// Export is a disk of Size bytes that a client reads, with Reader, or writes, with Writer. Exactly one of the two is set.
type Export struct {
	Size   int64
	Reader io.ReaderAt
	Writer Writer
}

// Writer takes what a client writes. Its methods are called one at a time, with ranges inside of the export, and do not keep p.
type Writer interface {
	io.WriterAt
	ZeroAt(n, off int64) error // n bytes at off are zeroes
}

// Serve lets the client at the other end of conn use an export, which has the empty name, until the client is done: nil; goes
// without a word: ErrGone; breaks a rule: ErrProtocol; or the export fails: that error. It blocks as long as the export does;
// whoever closes conn ends it otherwise. Serve does not close conn. Its memory is one buffer of at most MaxRequest bytes.
func Serve(conn io.ReadWriter, e Export) error {
	if e.Size < 0 || (e.Reader == nil) == (e.Writer == nil) {
		return errors.New("an NBD export needs a size and a reader or a writer")
	}
	s := &session{in: bufio.NewReader(conn), out: conn, export: e}
	start, err := s.handshake()
	for start && err == nil {
		start, err = s.request()
	}
	return err
}

// session is a connection.
type session struct {
	in     *bufio.Reader
	out    io.Writer
	export Export
	buf    []byte // header of a reply and data
}

func (s *session) flags() uint16 {
	if s.export.Writer != nil {
		return flagHasFlags | flagSendWriteZeroes
	}
	return flagHasFlags | flagReadOnly
}

// read fills p with the next bytes of a message.
func (s *session) read(p []byte) error {
	if _, err := io.ReadFull(s.in, p); err != nil {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	return nil
}

func (s *session) write(p []byte) error {
	if _, err := s.out.Write(p); err != nil {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	return nil
}

func broken(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrProtocol, fmt.Errorf(format, args...))
}

// request answers one request and reports whether another may follow.
func (s *session) request() (more bool, err error) {
	var header [requestHeader]byte
	if err := s.read(header[:]); err != nil {
		return false, err
	}
	be := binary.BigEndian
	if magic := be.Uint32(header[:]); magic != magicRequest {
		return false, broken("magic %#x of a request", magic)
	}
	flags, command := be.Uint16(header[4:]), be.Uint16(header[6:])
	offset, length := be.Uint64(header[16:]), int64(be.Uint32(header[24:]))
	if command == cmdDisc {
		return false, nil
	}
	reading := command == cmdRead
	switch {
	case !reading && command != cmdWrite && command != cmdWriteZeroes:
		return false, broken("command %d", command)
	case reading != (s.export.Reader != nil):
		return false, broken("command %d to an export that does not have it", command)
	case flags != 0 && (command != cmdWriteZeroes || flags != cmdFlagNoHole):
		return false, broken("flags %#x of command %d", flags, command)
	case length == 0, length > MaxRequest && command != cmdWriteZeroes:
		return false, broken("length %d of command %d", length, command)
	case offset > uint64(s.export.Size) || length > s.export.Size-int64(offset):
		return false, broken("bytes %d+%d of %d", offset, length, s.export.Size)
	}
	err = s.run(command, int64(offset), length)
	if errors.Is(err, ErrGone) {
		return false, err
	}
	reply := s.room(0)
	n := int64(replyHeader)
	be.PutUint32(reply, magicSimpleReply)
	be.PutUint32(reply[4:], 0)
	copy(reply[8:replyHeader], header[8:16])
	switch {
	case err != nil:
		be.PutUint32(reply[4:], errnoIO)
	case reading:
		n += length
	}
	if werr := s.write(reply[:n]); err == nil {
		err = werr
	}
	return err == nil, err
}

// run does what a valid request asks for. What was read is behind the room for the header of the reply.
func (s *session) run(command uint16, offset, length int64) error {
	switch command {
	case cmdWriteZeroes:
		return s.export.Writer.ZeroAt(length, offset)
	case cmdWrite:
		data := s.room(length)[replyHeader : replyHeader+length]
		if err := s.read(data); err != nil {
			return err
		}
		_, err := s.export.Writer.WriteAt(data, offset)
		return err
	default:
		n, err := s.export.Reader.ReadAt(s.room(length)[replyHeader:replyHeader+length], offset)
		switch {
		case int64(n) == length:
			return nil
		case err == nil || errors.Is(err, io.EOF):
			return io.ErrUnexpectedEOF // the export is shorter than its size
		}
		return err
	}
}

// room returns the buffer with room for the header of a reply and n bytes behind it.
func (s *session) room(n int64) []byte {
	if need := replyHeader + n; int64(len(s.buf)) < need {
		s.buf = make([]byte, need)
	}
	return s.buf
}
