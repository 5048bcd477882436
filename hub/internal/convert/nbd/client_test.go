package nbd

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client is the other end of a connection, with nothing between a test and the bytes.
type client struct {
	t    *testing.T
	conn net.Conn
	done chan error
}

// connect serves an export. What Serve returned is what end returns.
func connect(t *testing.T, e Export) *client {
	t.Helper()
	ours, theirs := net.Pipe()
	c := &client{t: t, conn: ours, done: make(chan error, 1)}
	go func() {
		err := Serve(theirs, e)
		_ = theirs.Close()
		c.done <- err
	}()
	t.Cleanup(func() { _ = ours.Close() })
	return c
}

// end closes the connection and returns what Serve has.
func (c *client) end() error {
	_ = c.conn.Close()
	return <-c.done
}

// send writes numbers as they are on the wire, and bytes. The server may have gone, which its result tells.
func (c *client) send(parts ...any) {
	c.t.Helper()
	_, _ = c.conn.Write(encode(c.t, parts...))
}

func encode(t *testing.T, parts ...any) []byte {
	t.Helper()
	var p []byte
	for _, part := range parts {
		switch v := part.(type) {
		case uint16:
			p = binary.BigEndian.AppendUint16(p, v)
		case uint32:
			p = binary.BigEndian.AppendUint32(p, v)
		case uint64:
			p = binary.BigEndian.AppendUint64(p, v)
		case []byte:
			p = append(p, v...)
		default:
			t.Fatalf("%T is not for the wire", part)
		}
	}
	return p
}

// receive returns the next n bytes.
func (c *client) receive(n int) []byte {
	c.t.Helper()
	p := make([]byte, n)
	if _, err := io.ReadFull(c.conn, p); err != nil {
		c.t.Fatalf("the server ends: %v", err)
	}
	return p
}

// hello does the first part of the handshake.
func (c *client) hello() {
	c.t.Helper()
	want := encode(c.t, uint64(magicServer), uint64(magicOption), uint16(fixedNewstyle|noZeroes))
	if got := c.receive(len(want)); string(got) != string(want) {
		c.t.Fatalf("hello %x", got)
	}
	c.send(uint32(fixedNewstyle | noZeroes))
}

// option sends an option and returns the reply that ends it.
func (c *client) option(id uint32, data []byte) (kind uint32) {
	c.t.Helper()
	c.send(uint64(magicOption), id, uint32(len(data)), data)
	for {
		p := c.receive(20)
		be := binary.BigEndian
		if be.Uint64(p) != magicReply || be.Uint32(p[8:]) != id {
			c.t.Fatalf("reply %x", p)
		}
		_ = c.receive(int(be.Uint32(p[16:])))
		if kind = be.Uint32(p[12:]); kind != repInfo {
			return kind
		}
	}
}

// enter does the whole handshake.
func (c *client) enter() {
	c.t.Helper()
	c.hello()
	if kind := c.option(optGo, encode(c.t, uint32(0), uint16(0))); kind != repAck {
		c.t.Fatalf("GO is answered with %#x", kind)
	}
}

// request sends a request, and returns the error and data of the answer.
func (c *client) request(command uint16, off uint64, length uint32, data []byte) (errno uint32, got []byte) {
	c.t.Helper()
	c.send(uint32(magicRequest), uint16(0), command, uint64(4711), off, length, data)
	p := c.receive(replyHeader)
	be := binary.BigEndian
	if be.Uint32(p) != magicSimpleReply || be.Uint64(p[8:]) != 4711 {
		c.t.Fatalf("reply %x", p)
	}
	if errno = be.Uint32(p[4:]); errno == 0 && command == cmdRead {
		got = c.receive(int(length))
	}
	return errno, got
}

// memory is an export to write to.
type memory struct {
	mu     sync.Mutex
	data   []byte
	zeroed int64
	fails  error // what the next calls return
}

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fails != nil {
		return 0, m.fails
	}
	return copy(m.data[off:], p), nil
}

func (m *memory) ZeroAt(n, off int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fails != nil {
		return m.fails
	}
	if off+n > int64(len(m.data)) {
		return errors.New("out of range")
	}
	clear(m.data[off : off+n])
	m.zeroed += n
	return nil
}
