package standby

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-dcn/atoll/pkg/retry"
)

const (
	// stretch is how many bytes are moved between two looks at the counters.
	stretch = 1 << 20
	// halfOpen bounds the time for one stretch after the other direction has ended: a peer that has said all it had to
	// say must not keep a connection open for ever by being silent.
	halfOpen = 10 * time.Minute
)

// dials says how long to wait before a leader is tried again that could not be reached.
var dials = retry.Policy{Initial: 100 * time.Millisecond, Max: time.Second}

// target returns where a connection goes in a state and the secret of that hub; not ok when nowhere. A port for users that
// others than this machine can reach never leads to one that only the leader's machine can reach.
func (p *Port) target(s *state) (address string, secret [secretBytes]byte, ok bool) {
	if s.note == nil {
		return "", secret, false
	}
	address = s.note.Addresses[p.kind]
	n, err := hex.Decode(secret[:], []byte(s.note.Secret)[:min(len(s.note.Secret), 2*secretBytes)])
	if address == "" || err != nil || n != secretBytes {
		return "", secret, false
	}
	if isLoopback(address) && (s.note.Network != p.f.Network || p.kind.private() && !isLoopback(p.Addr().String())) {
		return "", secret, false
	}
	return address, secret, true
}

// forward passes a connection on until both sides have ended or ctx ends. An error says that the leader could not be
// reached and nothing has been read of the connection.
func (p *Port) forward(ctx context.Context, c *net.TCPConn, address string, secret [secretBytes]byte) error {
	d, err := p.f.dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		p.f.Log.Debug("the hub that leads cannot be reached", "port", string(p.kind), "error", err)
		return err
	}
	leader := d.(*net.TCPConn) //nolint:forcetypeassert // of a dial with "tcp"
	defer func() { _ = leader.Close() }()
	_ = leader.SetWriteDeadline(time.Now().Add(p.f.Dial))
	if _, err := leader.Write(header(secret, p.kind, c.RemoteAddr())); err != nil {
		return err
	}
	_ = leader.SetWriteDeadline(time.Time{})
	_ = c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 4})
	stop := context.AfterFunc(ctx, func() {
		_ = leader.Close()
		_ = c.Close()
	})
	defer stop()
	m := p.f.metrics
	m.passed.WithLabelValues(string(p.kind)).Inc()
	m.open.Inc()
	defer m.open.Dec()
	var half atomic.Bool
	var both sync.WaitGroup
	both.Go(func() { move(leader, c, &half, m.up) })
	both.Go(func() { move(c, leader, &half, m.down) })
	both.Wait()
	return nil
}

// move copies one direction to its end and passes the end on. An error ends both directions. half is set once one of them
// has ended.
func move(to, from *net.TCPConn, half *atomic.Bool, count prometheus.Counter) {
	for {
		n, err := io.CopyN(to, from, stretch)
		count.Add(float64(n))
		switch {
		case err == nil:
			if half.Load() {
				_ = from.SetReadDeadline(time.Now().Add(halfOpen))
			}
			continue
		case errors.Is(err, io.EOF) && to.CloseWrite() == nil:
			half.Store(true)
			_ = to.SetReadDeadline(time.Now().Add(halfOpen)) // the other direction reads from it
			return
		}
		_ = to.Close()
		_ = from.Close()
		return
	}
}
