package etcdstore

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// term is one place in the election: a key bound to a lease. Once lost it stays lost.
type term struct {
	lease clientv3.LeaseID
	key   string
	rev   int64 // create revision of the key

	lost chan struct{}
	once sync.Once
}

// lose marks the term as lost. It may be called more than once.
func (t *term) lose() { t.once.Do(func() { close(t.lost) }) }

// isLost reports whether the term is known to be lost. No term at all is not a lost one.
func (t *term) isLost() bool {
	if t == nil {
		return false
	}
	select {
	case <-t.lost:
		return true
	default:
		return false
	}
}

func errNotLeader(cause error) error {
	return fault.Wrap(cause, fault.Conflict, "NOT_LEADER", "another hub has taken over")
}

// newTerm grants a lease and starts to renew it, until it is lost or the store closes.
func (s *Store) newTerm(ctx context.Context) (*term, error) {
	ctx, cancel := s.bounded(ctx, s.timing.request)
	defer cancel()
	began := time.Now()
	lease, err := s.client.Grant(ctx, int64(s.timing.lease.Seconds()))
	if err != nil {
		return nil, err
	}
	t := &term{lease: lease.ID, key: s.keys.leader() + strconv.FormatInt(int64(lease.ID), 16), lost: make(chan struct{})}
	s.wg.Go(func() { s.renew(s.ctx, t, began) })
	return t, nil
}

// renew keeps the lease alive. It gives the term up when no renewal has succeeded for timing.fence, which is before the
// lease runs out at the store: renewed is when the last successful request was sent.
func (s *Store) renew(ctx context.Context, t *term, renewed time.Time) {
	defer t.lose()
	tick := time.NewTicker(s.timing.renew)
	defer tick.Stop()
	for {
		fence := time.NewTimer(time.Until(renewed.Add(s.timing.fence)))
		select {
		case <-tick.C:
			fence.Stop()
		case <-fence.C:
			s.log.Warn("the place in the election is given up: the lease could not be renewed")
			return
		case <-t.lost:
			fence.Stop()
			return
		case <-ctx.Done():
			fence.Stop()
			return
		}
		sent := time.Now()
		limited, cancel := context.WithDeadline(ctx, renewed.Add(s.timing.fence))
		_, err := s.client.KeepAliveOnce(limited, t.lease)
		cancel()
		switch {
		case err == nil:
			renewed = sent
		case errors.Is(err, rpctypes.ErrLeaseNotFound):
			s.log.Warn("the place in the election is lost: the lease has expired or was revoked")
			return
		case ctx.Err() == nil:
			s.log.Warn("renewing the lease failed", "error", err)
		}
	}
}

// candidateGone is told by the watch that a candidate's key was deleted.
func (s *Store) candidateGone(key string) {
	if t := s.term.Load(); t != nil && t.key == key {
		t.lose()
	}
}

// resign revokes the lease of the current lead, so that another hub need not wait for it to run out.
func (s *Store) resign(ctx context.Context) {
	if t := s.term.Load(); t != nil && !t.isLost() {
		s.drop(ctx, t)
	}
}

// drop gives a term up and revokes its lease.
func (s *Store) drop(ctx context.Context, t *term) {
	t.lose()
	if _, err := s.client.Revoke(ctx, t.lease); err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		s.log.Warn("revoking a lease failed; it runs out by itself", "error", err)
	}
}
