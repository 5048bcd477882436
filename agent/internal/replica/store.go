package replica

import (
	"context"
	"errors"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/retry"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// How much is done at once in one store beside fills.
const (
	lookers   = 8 // short looks and removals
	readers   = 4 // reads in flight of one verification or offer
	offerings = 2 // offers being read at once
	adoptions = 2 // copies being read to take them over
)

// store is one store of the site. No store waits for anything that another one holds.
type store struct {
	id     image.StoreID
	pool   rbd.Pool
	life   context.Context //nolint:containedctx // the Manager's: ends calls that a changed goal does not end
	scan   chan struct{}   // look for garbage
	looks  slots
	checks slots // verifications that were asked for
	// adoptions are readings of copies that somebody else has made.
	adoptions slots
	writing   *buffers
	reading   *buffers
	sending   *buffers
	valve     *valve
	sums      bool // the store is asked for sums of chunks

	// Guarded by Manager.mu.
	status *agentv1.StoreStatus
	dirty  bool

	space struct {
		sync.Mutex
		promised int64 // bytes that running fills still have to write, as far as they know
	}
}

func newStore(id image.StoreID, s Store, parallel, workers int) *store {
	return &store{
		id: id, pool: s.Pool, sums: s.Verify != VerifyRead, scan: make(chan struct{}, 1),
		looks: make(slots, lookers), checks: make(slots, 1), adoptions: make(slots, adoptions),
		writing: newBuffers(parallel * max(workers, readers)), reading: newBuffers(readers), sending: newBuffers(offerings * readers),
		status: &agentv1.StoreStatus{
			StoreId: string(id), Driver: s.Pool.Driver(), Pool: s.Name, Message: "the store has not been looked at yet",
		},
	}
}

// begin gives the store the context of the Manager's run.
func (s *store) begin(ctx context.Context) { s.life = ctx }

// onEnd calls f when the Manager's run ends, unless the returned function was called before.
func (s *store) onEnd(f func()) (stop func() bool) { return context.AfterFunc(s.life, f) }

// slots limits how many do something at once.
type slots chan struct{}

func (s slots) take(ctx context.Context) error {
	select {
	case s <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s slots) give() { <-s }

// firmly makes a call that a changed goal does not give up; see the package comment. It does not begin after ctx ended.
func (m *Manager) firmly(ctx context.Context, s *store, call func(ctx context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	firm, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.pace.firm)
	defer cancel()
	defer s.onEnd(cancel)()
	return atStore(call(firm))
}

// watchStore keeps the state of a store up to date until ctx ends.
func (m *Manager) watchStore(ctx context.Context, s *store) {
	for {
		next := m.pace.healthy
		if !m.lookAtStore(ctx, s) {
			next = m.pace.unhealthy
		}
		if retry.Sleep(ctx, next) != nil {
			return
		}
	}
}

// lookAtStore reports whether the store is well.
func (m *Manager) lookAtStore(ctx context.Context, s *store) bool {
	limited, cancel := context.WithTimeout(ctx, m.pace.answer)
	info, err := s.pool.Info(limited)
	cancel()
	if ctx.Err() != nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	was := proto.CloneOf(s.status)
	if err != nil {
		s.status.Healthy, s.status.Message = false, storeMessage(err)
	} else {
		s.status.Healthy, s.status.Message = true, ""
		s.status.Fsid, s.status.Pool = info.FSID, info.Pool
		s.status.TotalBytes, s.status.FreeBytes = info.TotalBytes, info.FreeBytes
	}
	m.metrics.store(s.status)
	if !proto.Equal(was, s.status) {
		s.dirty = true
		signal(m.changed)
	}
	switch now := s.status; {
	case now.Healthy && !was.Healthy:
		m.log.Info("store usable", "store", s.id, "fsid", now.Fsid, "pool", now.Pool)
	case !now.Healthy && now.Message != was.Message:
		m.log.Error("store not usable", "store", s.id, "error", err)
	}
	return s.status.Healthy
}

func storeMessage(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "the store does not answer"
	}
	return fault.Public(err)
}

// promise checks that n more bytes fit beside what other fills still have to write, and sets them aside, also when it
// fails. The caller gives them back with release.
func (s *store) promise(ctx context.Context, n int64) error {
	s.space.Lock()
	s.space.promised += n
	all := s.space.promised
	s.space.Unlock()
	if n == 0 {
		return nil
	}
	info, err := s.pool.Info(ctx)
	if err != nil {
		return atStore(err)
	}
	if info.TotalBytes > 0 && all > info.FreeBytes {
		return atStore(fault.New(fault.Exhausted, "NO_SPACE",
			"the store has %d bytes free, running transfers need at least %d", info.FreeBytes, all))
	}
	return nil
}

func (s *store) release(n int64) {
	s.space.Lock()
	defer s.space.Unlock()
	s.space.promised -= n
}
