package standby

import (
	"crypto/subtle"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// magic begins a header. No protocol of the hub's ports begins with a zero byte.
const magic = "\x00ATOLL\x01\n"

const (
	secretBytes = 16
	headerBytes = len(magic) + secretBytes + 1 + 16 + 2
)

// header returns what a connection from a caller begins with.
func header(secret [secretBytes]byte, kind Kind, caller net.Addr) []byte {
	b := append([]byte(magic), secret[:]...)
	b = append(b, codes[kind])
	a, _ := netip.ParseAddrPort(caller.String()) // zero: unknown
	ip := a.Addr().As16()
	b = append(b, ip[:]...)
	return append(b, byte(a.Port()>>8), byte(a.Port()))
}

var errForeign = errors.New("the header of the connection is not of a hub of this system")

// readHeader reads the header that c begins with, if any, and returns the connection as coming from the caller. passed
// tells whether there was one. A caller that stays silent for wait is let pass: the servers have their own patience.
func readHeader(c *net.TCPConn, secret [secretBytes]byte, kind Kind, wait time.Duration) (_ net.Conn, passed bool, err error) {
	_ = c.SetReadDeadline(time.Now().Add(wait)) // fails only when closed, as the next call then does
	first, err := peek(c)
	if err != nil || first != magic[0] {
		_ = c.SetReadDeadline(time.Time{})
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, io.EOF) {
			err = nil
		}
		return c, false, err
	}
	var b [headerBytes]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return nil, true, err
	}
	_ = c.SetReadDeadline(time.Time{})
	rest := b[len(magic):]
	if string(b[:len(magic)]) != magic || subtle.ConstantTimeCompare(rest[:secretBytes], secret[:]) != 1 || rest[secretBytes] != codes[kind] {
		return nil, true, errForeign
	}
	rest = rest[secretBytes+1:]
	ip := netip.AddrFrom16([16]byte(rest[:16])).Unmap()
	port := uint16(rest[16])<<8 | uint16(rest[17])
	return &passedOn{TCPConn: c, caller: net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, port))}, true, nil
}

// peek returns the first byte of a connection without taking it. io.EOF when the caller sends nothing more.
func peek(c *net.TCPConn) (byte, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var b [1]byte
	var n int
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		n, _, failed = unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return !errors.Is(failed, unix.EAGAIN) && !errors.Is(failed, unix.EINTR)
	})
	switch {
	case err != nil:
		return 0, err
	case failed != nil:
		return 0, failed
	case n == 0:
		return 0, io.EOF
	}
	return b[0], nil
}

// passedOn is a connection that another hub has passed on.
type passedOn struct {
	*net.TCPConn
	caller net.Addr
}

// RemoteAddr returns the address of the caller.
func (c *passedOn) RemoteAddr() net.Addr { return c.caller }
