package etcdstore

import (
	"context"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

// mostBytes bounds the records of one commit; etcd refuses requests of more than 1.5 MiB.
const mostBytes = 1 << 20

// Commit applies all writes or none and returns once the cache shows them. A write of a nil value with revision 0 only
// checks that the record does not exist. While this hub leads, the store refuses the commit unless it still does; once
// it has lost the lead every Commit fails until Campaign succeeds again. A hub that never led commits unfenced.
//
// Commit blocks for about half a minute at most, while etcd does not answer. When ctx ends earlier it still takes up to
// 3 seconds to find out how the commit ended.
//
// Errors: Conflict RECORD_CHANGED (the cache already shows the other's write) or NOT_LEADER; Invalid for writes that can
// never succeed; Exhausted STORE_FULL; Cancelled or Timeout when ctx ended and nothing was or will be written;
// Unavailable when the outcome is not known.
func (s *Store) Commit(ctx context.Context, writes ...catalog.Write) error {
	if len(writes) == 0 {
		return nil
	}
	began := time.Now()
	err := s.commit(ctx, writes)
	s.metrics.committed(err, time.Since(began))
	return err
}

func (s *Store) commit(ctx context.Context, writes []catalog.Write) error {
	t, err := s.prepare(writes)
	if err != nil {
		return err
	}
	if t.term = s.term.Load(); t.term.isLost() {
		return errNotLeader(nil)
	}
	rev, err := s.run(ctx, t)
	if err != nil {
		return s.refused(ctx, t, err)
	}
	return s.visible(ctx, rev)
}

// transaction is one Commit on its way.
type transaction struct {
	writes []catalog.Write
	keys   []string // of the writes
	guards []clientv3.Cmp
	ops    []clientv3.Op
	term   *term // nil: not fenced
}

// prepare checks the writes and turns them into guards and operations.
func (s *Store) prepare(writes []catalog.Write) (*transaction, error) {
	if len(writes) > catalog.MaxWrites {
		return nil, fault.New(fault.Invalid, "TOO_MANY_WRITES", "a commit of %d writes is over the limit of %d", len(writes), catalog.MaxWrites)
	}
	t := &transaction{writes: writes}
	seen, size := make(map[catalog.Key]bool, len(writes)), 0
	for _, w := range writes {
		key, err := s.keys.encode(w.Key)
		if err != nil {
			return nil, err
		}
		if seen[w.Key] {
			return nil, fault.New(fault.Invalid, "INVALID_COMMIT", "a commit writes one record twice")
		}
		seen[w.Key] = true
		t.keys = append(t.keys, key)
		t.guards = append(t.guards, clientv3.Compare(clientv3.ModRevision(key), "=", w.Revision))
		if w.Value == nil {
			t.ops = append(t.ops, clientv3.OpDelete(key))
			continue
		}
		value, err := encodeValue(w.Key.Kind, w.Value)
		if err != nil {
			return nil, err
		}
		size += len(key) + len(value)
		t.ops = append(t.ops, clientv3.OpPut(key, value))
	}
	if size > mostBytes {
		return nil, fault.New(fault.Invalid, "RECORD_TOO_LARGE", "the request needs %d KiB of records; the limit is %d KiB", size>>10, mostBytes>>10)
	}
	return t, nil
}

// changedError says which records were not as the caller had read them.
type changedError struct{ revs map[catalog.Key]int64 }

func (e *changedError) Error() string { return "a record has changed since it was read" }

// refused turns the failure of a transaction into what the caller gets. A caller that lost a race will read again at
// once, so it waits, a bounded time, until the cache shows what won.
func (s *Store) refused(ctx context.Context, t *transaction, err error) error {
	var changed *changedError
	switch {
	case errors.As(err, &changed):
		ctx, cancel := s.bounded(ctx, s.timing.settle)
		defer cancel()
		if werr := s.cache.waitChanged(ctx, changed.revs); werr != nil {
			s.log.Debug("the cache does not show yet what a commit lost against", "error", werr)
		}
		return fault.New(fault.Conflict, "RECORD_CHANGED", "somebody else changed the same thing at the same time")
	case errors.Is(err, errFenced):
		if t.term != nil {
			t.term.lose()
		}
		return errNotLeader(err)
	}
	return err
}

// visible blocks until the cache shows revision rev.
func (s *Store) visible(ctx context.Context, rev int64) error {
	ctx, cancel := s.outlive(ctx, s.timing.settle)
	defer cancel()
	if err := s.cache.waitRevision(ctx, rev); err != nil {
		return fault.Wrap(err, fault.Unavailable, "STORE_BEHIND", "the change is stored but this hub does not see it yet")
	}
	return nil
}

// outlive returns a context that ends with the store, and after ctx has ended, but only some time after it.
// Once a commit may have been written, giving up at once would leave the caller not knowing.
func (s *Store) outlive(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	out, cancel := s.bounded(context.WithoutCancel(ctx), s.timing.commit)
	stop := context.AfterFunc(ctx, func() {
		t := time.NewTimer(grace)
		defer t.Stop()
		select {
		case <-t.C:
			cancel()
		case <-out.Done():
		}
	})
	return out, func() { stop(); cancel() }
}
