package outside

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/retry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// connect is how long clients of tests try to reach something.
const connect = 300 * time.Millisecond

// newClient returns a client that may connect to 127.0.0.1, where servers of tests are, and to no other address of this
// machine: what listens at 127.0.0.2 plays a service of the inside.
func newClient(t testing.TB, set ...func(*Options)) *Client {
	t.Helper()
	o := Options{AllowNetworks: []string{"127.0.0.1"}, AllowPorts: anyPort}
	for _, s := range set {
		s(&o)
	}
	usual := o.Connect == 0
	if usual {
		o.Connect = time.Minute
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if usual { // a busy machine may take long for a connection; what fails at once is tried again for a short time only
		c.options.Connect, c.again = connect, retry.Policy{Initial: connect / 20, Max: connect / 2}
	}
	return c
}

// serve starts a server at 127.0.0.1 or another address of this machine.
func serve(t *testing.T, address string, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address+":0")
	if err != nil {
		t.Fatal(err)
	}
	return serveAt(t, l, h)
}

func serveAt(t *testing.T, l net.Listener, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	_ = s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// serveBeside starts a server at 127.0.0.1 and listens at the same port of 127.0.0.2, which plays the inside.
func serveBeside(t *testing.T, h http.HandlerFunc) (*httptest.Server, net.Listener) {
	t.Helper()
	for range 100 { // others may have the port there
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(l.Addr().String())
		secret, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.2:"+port)
		if err == nil {
			t.Cleanup(func() { _ = secret.Close() })
			return serveAt(t, l, h), secret
		}
		_ = l.Close()
	}
	t.Fatal("no port is free at both addresses")
	return nil, nil
}

// await waits for something that comes soon, except on a machine that is very busy.
func await(t *testing.T, ch <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(time.Minute):
		t.Fatal("timed out: " + what)
	}
}

// inside starts a service that must never be asked.
func inside(t *testing.T) string {
	t.Helper()
	s := serve(t, "127.0.0.2", func(_ http.ResponseWriter, r *http.Request) { t.Errorf("the inside was asked for %s", r.URL) })
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			t.Error("somebody has connected to the inside")
		}
	}
	return s.URL
}

// get gets everything.
func get(t *testing.T, c *Client, r Request) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	body, err := c.Open(ctx, r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	return io.ReadAll(body)
}

func wantReason(t *testing.T, what string, err error, reason string) {
	t.Helper()
	if err == nil || fault.ReasonOf(err) != reason {
		t.Errorf("%s: got %v (%s), want %s", what, err, fault.ReasonOf(err), reason)
	}
}

// zone is a DNS server whose answers tests choose.
type zone struct {
	answer func(name string, query int64) string // an IPv4 address, empty for a name that does not exist
	asked  atomic.Int64                          // for addresses of IPv4
}

// newZone starts a DNS server and returns the resolver that asks it.
func newZone(t *testing.T, answer func(name string, query int64) string) *net.Resolver {
	t.Helper()
	z := &zone{answer: answer}
	pc, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); z.run(pc) }()
	t.Cleanup(func() { _ = pc.Close(); <-done })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", pc.LocalAddr().String())
	}}
}

func (z *zone) run(pc net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		n, from, err := pc.ReadFrom(buf)
		if err != nil {
			return
		}
		_, _ = pc.WriteTo(z.reply(buf[:n]), from)
	}
}

// reply answers a query with one question.
func (z *zone) reply(q []byte) []byte {
	var labels []string
	at := 12
	for q[at] != 0 {
		labels = append(labels, string(q[at+1:at+1+int(q[at])]))
		at += 1 + int(q[at])
	}
	kind := binary.BigEndian.Uint16(q[at+1:])
	out := append([]byte{q[0], q[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, q[12:at+5]...)
	if kind != 1 {
		return out
	}
	ip, err := netip.ParseAddr(z.answer(strings.Join(labels, "."), z.asked.Add(1)))
	if err != nil {
		out[3] |= 3 // no such name
		return out
	}
	out[7] = 1
	return append(append(out, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4), ip.AsSlice()...)
}

var errTest = errors.New("test")
