package standby

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"net"
	"reflect"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-dcn/atoll/pkg/retry"
)

// Config is what a Forwarder needs. Zero values mean the defaults.
type Config struct {
	// Network is the result of Network.
	Network string
	// ImageTLS is what the Image API's clients expect when they are told that nobody leads; nil for no TLS.
	ImageTLS *tls.Config
	// Most bounds the connections that each port holds or passes on at the same time; more are closed. Default 10,000.
	Most int
	// Hold is how long a connection is held while nobody leads. Default 10 s.
	Hold time.Duration
	// Dial bounds one attempt to reach the leader. Default 3 s.
	Dial     time.Duration
	Log      hclog.Logger          // nil for none
	Registry prometheus.Registerer // nil for none
}

// Forwarder passes the connections of a hub's ports to the hub that leads, or to the hub's own servers while it leads
// itself. Create the ports with Port, then call Run once. Other methods may be called at any time.
type Forwarder struct {
	Config
	secret  [secretBytes]byte
	metrics *metrics
	dialer  net.Dialer
	wg      sync.WaitGroup // of connections and ports

	mu    sync.Mutex
	ports []*Port
	now   *state
}

// state is who leads, as this hub knows it. It is replaced, never changed.
type state struct {
	leading bool            // this hub
	note    *Note           // of another hub that leads; nil: nobody is known to
	term    int64           // of that hub
	ctx     context.Context //nolint:containedctx // ends when the state does
	end     context.CancelFunc
}

// New returns a forwarder that knows of no leader.
func New(c Config) *Forwarder {
	if c.Most == 0 {
		c.Most = 10_000
	}
	if c.Hold == 0 {
		c.Hold = 10 * time.Second
	}
	if c.Dial == 0 {
		c.Dial = 3 * time.Second
	}
	if c.Log == nil {
		c.Log = hclog.NewNullLogger()
	}
	f := &Forwarder{Config: c, dialer: net.Dialer{Timeout: c.Dial, KeepAlive: 15 * time.Second}}
	_, _ = rand.Read(f.secret[:]) // never fails (crypto/rand, Go 1.24)
	f.metrics = newMetrics(c.Registry)
	f.enter(&state{})
	return f
}

// Note returns what this hub says of itself while it leads. addresses are those of its ports.
func (f *Forwarder) Note(addresses map[Kind]string) *Note {
	return &Note{Addresses: addresses, Network: f.Network, Secret: hex.EncodeToString(f.secret[:])}
}

// Follow tells which hub leads, another than this one: note is nil when nobody is known to. A higher term is another
// leader; connections to an earlier one are cut, for it answers no more.
func (f *Forwarder) Follow(term int64, note *Note) {
	if old := f.state(); old.term == term && reflect.DeepEqual(old.note, note) {
		return
	}
	f.enter(&state{term: term, note: note})
}

// Lead tells that this hub leads from now on.
func (f *Forwarder) Lead() {
	f.enter(&state{leading: true})
}

// Leading reports whether this hub leads.
func (f *Forwarder) Leading() bool { return f.state().leading }

func (f *Forwarder) enter(s *state) {
	s.ctx, s.end = context.WithCancel(context.Background()) //nolint:forbidigo // ends with the next state, or with Run
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now != nil {
		if f.now.leading { // a hub that has led never follows: its process ends
			s.end()
			return
		}
		f.now.end()
	}
	f.now = s
}

func (f *Forwarder) state() *state {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// Port returns a listener for the hub's servers on top of l, which must be a TCP listener. Its Accept yields connections
// only while this hub leads. Closing it closes l.
func (f *Forwarder) Port(kind Kind, l net.Listener) *Port {
	p := &Port{
		Listener: l, kind: kind, f: f, slots: make(chan struct{}, f.Most), ready: make(chan net.Conn), closed: make(chan struct{}),
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ports = append(f.ports, p)
	return p
}

// Run accepts connections until ctx ends, then closes the ports and all connections that are passed on, and returns nil
// when nothing of them is left.
func (f *Forwarder) Run(ctx context.Context) error {
	f.mu.Lock()
	ports := f.ports
	f.mu.Unlock()
	for _, p := range ports {
		f.wg.Go(func() { p.run(ctx) })
	}
	<-ctx.Done()
	for _, p := range ports {
		_ = p.Close()
	}
	f.wg.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now.end()
	f.metrics.unregister()
	return nil
}

// accepts says how long to wait when a connection cannot be accepted, for example because all file descriptors are used.
var accepts = retry.Policy{Initial: 5 * time.Millisecond, Max: time.Second}
