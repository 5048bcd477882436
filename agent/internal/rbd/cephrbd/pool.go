//go:build cgo

package cephrbd

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// Available says whether this build can use Ceph.
const Available = true

// Pool is a pool of a Ceph cluster. It implements rbd.Pool.
type Pool struct {
	config  Config
	calls   *calls
	names   nameLocks
	buffers chan []byte     // buffers at rest, at most one per slot
	own     map[string]bool // addresses of this process's clients; used while connecting only

	mu         sync.Mutex
	current    *session
	sessions   int // connections that have not been shut down
	attempt    *dial
	asking     *asking
	lastReason string // of the last failed connect, to log changes only
	closed     bool
}

// Open returns a pool. It does no I/O and fails only when the configuration is wrong; what else goes wrong is returned by
// the methods, and may pass.
func Open(_ context.Context, config Config) (rbd.Pool, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Pool{
		config: config, calls: newCalls(config.Calls, config.Now), names: nameLocks{held: map[string]chan struct{}{}},
		buffers: make(chan []byte, config.Calls), own: map[string]bool{},
	}, nil
}

// Driver implements rbd.Pool.
func (p *Pool) Driver() string { return "ceph" }

// Stalled returns how many library calls have been running for more than three times the time that Ceph's own timeouts
// should have ended them in, and the operation and age of the oldest of them. Only the end of the process frees such calls;
// while they last, the pool has that many slots less.
func (p *Pool) Stalled() (n int, operation string, oldest time.Duration) { return p.calls.stalled() }

// Close implements rbd.Pool. It waits a few seconds for calls that are still running; if they go on, it leaves the
// connection open for them, because taking it away would crash the process, and returns an error.
func (p *Pool) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	s := p.current
	p.current = nil
	if s != nil {
		s.retired = true
	}
	p.mu.Unlock()
	if s != nil {
		p.release(s)
	}
	if !p.calls.wait(p.config.CloseTimeout) {
		return fault.New(fault.Unavailable, "STORE_UNREACHABLE", "the Ceph cluster does not answer; calls are still waiting for it")
	}
	p.mu.Lock()
	open := p.sessions
	p.mu.Unlock()
	if open == 0 { // images that were not closed keep their watches
		p.forgetClients()
	}
	return nil
}

// limit is how long a call may take before it counts as stalled. Work that grows with the size of an image gets more.
func (p *Pool) limit() time.Duration     { return 3 * p.config.OSDTimeout }
func (p *Pool) longLimit() time.Duration { return 20 * p.config.OSDTimeout }

// do runs f on the current session in a slot and classifies its error.
func do[T any](ctx context.Context, p *Pool, operation string, limit time.Duration, f func(*session) (T, error), late func(T)) (T, error) {
	var none T
	s, err := p.session(ctx, operation)
	if err != nil {
		return none, err
	}
	defer p.release(s)
	return doOn(ctx, p, s, operation, limit, f, late)
}

// doOn is do on a session that the caller holds.
func doOn[T any](ctx context.Context, p *Pool, s *session, operation string, limit time.Duration, f func(*session) (T, error), late func(T)) (T, error) {
	return run(ctx, p.calls, operation, limit, func() (func(), error) { return p.retain(s), nil }, func() (T, error) {
		v, err := f(s)
		return v, p.examine(s, operation, err)
	}, late)
}

// examine classifies the error of a call and finds out whether the session is of further use.
func (p *Pool) examine(s *session, operation string, err error) error {
	switch {
	case err == nil:
		return nil
	case broken(err):
		p.retire(s, "the cluster has shut out this client")
	case errno(err) == unix.ENOENT || fault.Is(err, fault.NotFound):
		// A deleted pool looks like a missing image. The answer has brought the newest map of the pools with it.
		if e := p.checkPool(s); e != nil {
			return e
		}
	}
	return classify(operation, err)
}

// checkPool fails with POOL_MISSING when the session's pool is gone, even if there is a new one of the same name.
func (p *Pool) checkPool(s *session) error {
	id, err := s.conn.GetPoolByName(p.config.Pool)
	switch {
	case err == nil && id == s.poolID:
		return nil
	case err != nil && errno(err) != unix.ENOENT:
		return classify("look up the pool", err)
	}
	p.retire(s, "the pool was deleted")
	return poolMissing(p.config.Pool)
}

// buffer returns a buffer of n bytes, at most a chunk.
func (p *Pool) buffer(n int) []byte {
	select {
	case b := <-p.buffers:
		return b[:n]
	default:
		return make([]byte, n, manifest.ChunkSize)
	}
}

// recycle takes a buffer back that no call uses any more.
func (p *Pool) recycle(b []byte) {
	select {
	case p.buffers <- b:
	default:
	}
}
