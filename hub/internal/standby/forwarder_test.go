package standby

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/atoll-dcn/atoll/pkg/retry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patient bounds every wait of the tests.
const patient = time.Minute

// hub is one hub of a test: its servers greet each caller and then say again what they hear.
type hub struct {
	t     *testing.T
	f     *Forwarder
	ports map[Kind]*Port
	note  *Note
	stop  func()
}

// listen listens on an address that other tests do not use: they must not get the port of a hub that is gone.
func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.77:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func newHub(t *testing.T, name string, c Config) *hub {
	t.Helper()
	c.Network = Network()
	if c.Hold == 0 {
		c.Hold = patient
	}
	c.Dial = patient
	h := &hub{t: t, f: New(c), ports: map[Kind]*Port{}}
	addresses := map[Kind]string{}
	for _, k := range []Kind{Image, Link} {
		h.ports[k] = h.f.Port(k, listen(t))
		addresses[k] = h.ports[k].Addr().String()
	}
	h.note = h.f.Note(addresses)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.f.Run(ctx) }()
	served := make(chan struct{})
	go func() {
		defer close(served)
		h.serve(name)
	}()
	h.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		<-served
	}
	t.Cleanup(h.stopOnce())
	return h
}

func (h *hub) stopOnce() func() {
	stop := h.stop
	stopped := false
	h.stop = func() {
		if !stopped {
			stopped = true
			stop()
		}
	}
	return h.stop
}

// serve answers the connections of the link until its port is closed: a line with the hub's name and the caller's address,
// then an echo.
func (h *hub) serve(name string) {
	served := make(chan struct{}, 100)
	n := 0
	for {
		c, err := h.ports[Link].Accept()
		if err != nil {
			break
		}
		n++
		go func() {
			defer func() { _ = c.Close(); served <- struct{}{} }()
			_, _ = fmt.Fprintf(c, "%s %s\n", name, c.RemoteAddr())
			_, _ = io.Copy(c, c)
		}()
	}
	for range n {
		<-served
	}
}

// call connects to a hub's link and says one line.
func (h *hub) call() net.Conn {
	h.t.Helper()
	c, err := net.Dial("tcp", h.ports[Link].Addr().String())
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patient))
	if _, err := io.WriteString(c, "x"); err != nil {
		h.t.Fatal(err)
	}
	return c
}

// wants checks who answers a connection, and that it is told of the caller.
func (h *hub) wants(c net.Conn, name string) {
	h.t.Helper()
	want := fmt.Sprintf("%s %s\nx", name, c.LocalAddr())
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		h.t.Fatalf("got %q, %v; want %q", got, err, want)
	}
}

// held returns how many connections of the link are held or passed on.
func (h *hub) held() int { return len(h.ports[Link].slots) }

// cut checks that a connection has been closed.
func (h *hub) cut(c net.Conn) {
	h.t.Helper()
	_, err := io.Copy(io.Discard, c)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		h.t.Fatal("it is still open")
	}
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patient); !f(); {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
		_ = retry.Sleep(t.Context(), time.Millisecond)
	}
}

func TestConnectionsGoToTheLeader(t *testing.T) {
	a, b := newHub(t, "a", Config{}), newHub(t, "b", Config{})
	a.f.Lead()
	b.f.Follow(1, a.note)
	direct, through := a.call(), b.call()
	a.wants(direct, "a")
	b.wants(through, "a")
	if !a.f.Leading() || b.f.Leading() {
		t.Error("who leads?")
	}
	// Half a close is passed on, and what comes back after it.
	big := strings.Repeat("0123456789", 1<<18)
	go func() {
		_, _ = io.WriteString(through, big)
		_ = through.(*net.TCPConn).CloseWrite() //nolint:forcetypeassert // of a dial with "tcp"
	}()
	if got, err := io.ReadAll(through); err != nil || string(got) != big {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	eventually(t, "the connection is not forgotten", func() bool { return b.held() == 0 })
}

func TestConnectionsAreHeldUntilSomebodyLeads(t *testing.T) {
	a, b := newHub(t, "a", Config{Hold: patient}), newHub(t, "b", Config{Hold: patient})
	atA, atB := a.call(), b.call()
	eventually(t, "they are not held", func() bool { return a.held() == 1 && b.held() == 1 })
	a.f.Lead()
	b.f.Follow(1, a.note)
	a.wants(atA, "a")
	b.wants(atB, "a")
}

// A hub that others pass connections to before it knows that it leads serves them once it does.
func TestConnectionsArriveBeforeTheirHubLeads(t *testing.T) {
	a, b := newHub(t, "a", Config{Hold: patient}), newHub(t, "b", Config{})
	b.f.Follow(1, a.note)
	c := b.call()
	eventually(t, "it is not passed on", func() bool { return a.held() == 1 })
	a.f.Lead()
	b.wants(c, "a")
}

func TestAChangeOfLeadersCutsOldConnections(t *testing.T) {
	a, b, c := newHub(t, "a", Config{}), newHub(t, "b", Config{}), newHub(t, "c", Config{})
	a.f.Lead()
	c.f.Follow(1, a.note)
	old := c.call()
	c.wants(old, "a")
	c.f.Follow(1, a.note) // no news
	if _, err := io.WriteString(old, "y"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(old, make([]byte, 1)); err != nil {
		t.Fatalf("cut for no reason: %v", err)
	}
	b.f.Lead()
	c.f.Follow(2, b.note)
	c.cut(old)
	c.wants(c.call(), "b")
	eventually(t, "the old connection is not forgotten", func() bool { return c.held() == 1 })
}

func TestALeaderThatIsGoneIsWaitedFor(t *testing.T) {
	a, b, c := newHub(t, "a", Config{}), newHub(t, "b", Config{}), newHub(t, "c", Config{Hold: patient})
	a.f.Lead()
	c.f.Follow(1, a.note)
	a.stop()
	held := c.call()
	eventually(t, "it is not held", func() bool { return c.held() == 1 })
	c.f.Follow(2, nil)
	b.f.Lead()
	c.f.Follow(3, b.note)
	c.wants(held, "b")
}

func TestConnectionsDoNotGoInCircles(t *testing.T) {
	a, b := newHub(t, "a", Config{Hold: 50 * time.Millisecond}), newHub(t, "b", Config{Hold: 50 * time.Millisecond})
	a.f.Follow(1, b.note)
	b.f.Follow(2, a.note)
	c := a.call()
	a.cut(c)
	eventually(t, "connections are left", func() bool { return a.held() == 0 && b.held() == 0 })
}

func TestTooManyConnections(t *testing.T) {
	a, b := newHub(t, "a", Config{}), newHub(t, "b", Config{Most: 2})
	a.f.Lead()
	b.f.Follow(1, a.note)
	first, second := b.call(), b.call()
	b.wants(first, "a")
	b.wants(second, "a")
	b.cut(b.call())
	_ = first.Close()
	eventually(t, "no place becomes free", func() bool { return b.held() == 1 })
	b.wants(b.call(), "a")
}

func TestForeignHeadersAreRefused(t *testing.T) {
	a := newHub(t, "a", Config{})
	a.f.Lead()
	for name, head := range map[string][]byte{
		"secret": header([secretBytes]byte{1}, Link, &net.TCPAddr{}),
		"kind":   header(a.f.secret, Image, &net.TCPAddr{}),
		"magic":  []byte("\x00" + strings.Repeat("x", headerBytes)),
	} {
		c, err := net.Dial("tcp", a.ports[Link].Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patient))
		if _, err := c.Write(head); err != nil {
			t.Fatal(err)
		}
		if got, _ := io.ReadAll(c); len(got) > 0 {
			t.Errorf("%s: served with %q", name, got)
		}
		_ = c.Close()
	}
}

// Loopback addresses mean the leader on its own machine only, and what relies on them stays out of the network's reach.
func TestLoopbackStaysPrivate(t *testing.T) {
	f := New(Config{Network: "here"})
	local, open := f.Port(Image, fixed("127.0.0.1:1")), f.Port(Image, fixed("0.0.0.0:1"))
	link := f.Port(Link, fixed("0.0.0.0:1"))
	note := func(network, address string) *state {
		n := f.Note(map[Kind]string{Image: address, Link: address})
		n.Network = network
		return &state{note: n}
	}
	for _, c := range []struct {
		what string
		p    *Port
		s    *state
		want bool
	}{
		{"local to local", local, note("here", "127.0.0.1:2"), true},
		{"local to another machine's loopback", local, note("there", "127.0.0.1:2"), false},
		{"open to local", open, note("here", "127.0.0.1:2"), false},
		{"open to open", open, note("there", "192.0.2.1:2"), true},
		{"link to local", link, note("here", "[::1]:2"), true},
		{"link to another machine's loopback", link, note("there", "localhost:2"), false},
		{"nobody", link, &state{}, false},
		{"a leader without such a port", link, &state{note: f.Note(nil)}, false},
		{"a leader without a secret", link, &state{note: &Note{Addresses: map[Kind]string{Link: "192.0.2.1:2"}}}, false},
	} {
		if _, _, ok := c.p.target(c.s); ok != c.want {
			t.Errorf("%s: %t", c.what, ok)
		}
	}
}

// fixed is a listener that only has an address.
type fixed string

func (fixed) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (fixed) Close() error              { return nil }
func (f fixed) Addr() net.Addr {
	a, err := net.ResolveTCPAddr("tcp", string(f))
	if err != nil {
		panic(err)
	}
	return a
}

func TestClientsOfTheImageAPIAreToldThatNobodyLeads(t *testing.T) {
	h := newHub(t, "a", Config{Hold: time.Millisecond})
	for _, method := range []string{http.MethodGet, http.MethodPut} {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+h.ports[Image].Addr().String()+"/v2/images", strings.NewReader("data"))
		if err != nil {
			t.Fatal(err)
		}
		transport := &http.Transport{}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		transport.CloseIdleConnections()
		if err != nil || resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || string(body) != sorry {
			t.Errorf("%s: %s %q, %v", method, resp.Status, body, err)
		}
	}
}

func TestAdvertised(t *testing.T) {
	for _, c := range []struct{ listen, host, want string }{
		{"127.0.0.1:9292", "", "127.0.0.1:9292"},
		{"127.0.0.1:9292", "hub0.example.org", "127.0.0.1:9292"},
		{"192.0.2.7:9292", "", "192.0.2.7:9292"},
		{"192.0.2.7:9292", "hub0.example.org", "hub0.example.org:9292"},
		{"0.0.0.0:9292", "hub0.example.org", "hub0.example.org:9292"},
		{"[::]:9292", "hub0.example.org", "hub0.example.org:9292"},
		{"[2001:db8::1]:9292", "", "[2001:db8::1]:9292"},
	} {
		if got, err := Advertised(fixed(c.listen).Addr(), c.host); err != nil || got != c.want {
			t.Errorf("%s as %s: got %s, %v; want %s", c.listen, c.host, got, err, c.want)
		}
	}
}

func TestNote(t *testing.T) {
	f := New(Config{Network: "here"})
	n := f.Note(map[Kind]string{Link: "192.0.2.1:1"})
	got, err := ParseNote(n.String())
	if err != nil || got.Addresses[Link] != "192.0.2.1:1" || got.Secret != n.Secret || got.Network != "here" {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := ParseNote(""); err == nil {
		t.Error("no note is a note")
	}
}

// BenchmarkForward moves data through a standby.
func BenchmarkForward(b *testing.B) {
	f, to := New(Config{Network: Network()}), New(Config{})
	leader, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	own, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	port := f.Port(Frames, own)
	note := to.Note(map[Kind]string{Frames: leader.Addr().String()})
	note.Network = f.Network
	f.Follow(1, note)
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	defer func() {
		cancel()
		<-done
		_ = leader.Close()
	}()
	c, err := net.Dial("tcp", port.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	const block = 4 << 20
	buf := bytes.Repeat([]byte("x"), block)
	go func() {
		for range b.N {
			if _, err := c.Write(buf); err != nil {
				return
			}
		}
		_ = c.Close()
	}()
	b.SetBytes(block)
	b.ResetTimer()
	in, err := leader.Accept()
	if err != nil {
		b.Fatal(err)
	}
	n, err := io.Copy(io.Discard, in)
	if err != nil || n != int64(b.N*block+headerBytes) {
		b.Fatal(n, err)
	}
	_ = in.Close()
}
