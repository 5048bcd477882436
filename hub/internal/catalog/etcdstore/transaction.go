package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

var (
	errFenced   = errors.New("this hub's place in the election is gone")
	errSlotLost = errors.New("the commit's receipt was changed by somebody else")
	errNoAnswer = errors.New("no answer to a transaction")
)

// run carries a transaction out and returns the revision at which it was applied.
//
// An attempt that gets no answer may have been applied, may be applied later, or never. So every attempt guards and
// overwrites the slot's receipt: at most one of them is applied, and the receipt tells a lost answer from a lost race.
func (s *Store) run(ctx context.Context, t *transaction) (int64, error) {
	limited, cancel := s.bounded(ctx, s.timing.commit)
	defer cancel()
	sl, err := s.slots.take(limited)
	if err != nil {
		return 0, s.gaveUp(ctx, err)
	}
	rev, open, err := s.attempts(limited, t, sl)
	if errors.Is(err, errNoAnswer) {
		err = s.gaveUp(ctx, err)
	}
	if err != nil && open {
		rev, err = s.settle(ctx, sl, err)
	}
	s.slots.give(sl)
	return rev, err
}

// attempts repeats the transaction until one attempt is answered or ctx ends. open tells that an earlier attempt without
// an answer may have been applied or may still be.
func (s *Store) attempts(ctx context.Context, t *transaction, sl *slot) (rev int64, open bool, err error) {
	backoff := s.timing.retry.Backoff()
	for {
		rev, err = s.attempt(ctx, t, sl)
		switch {
		case errors.Is(err, errSlotLost) && !open:
			s.slots.replace(sl)
		case errors.Is(err, errNoAnswer):
			open = true
			s.log.Debug("a commit got no answer", "error", err)
			if backoff.Wait(ctx) != nil {
				return 0, open, err
			}
		default:
			return rev, open, err
		}
	}
}

// attempt carries the transaction out once. It returns errNoAnswer when the outcome is not known.
func (s *Store) attempt(ctx context.Context, t *transaction, sl *slot) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timing.request)
	defer cancel()
	guards := append(slices.Clone(t.guards), clientv3.Compare(clientv3.ModRevision(sl.key), "=", sl.rev))
	reads := []clientv3.Op{clientv3.OpGet(sl.key)}
	for _, key := range t.keys {
		reads = append(reads, clientv3.OpGet(key, clientv3.WithKeysOnly()))
	}
	if t.term != nil {
		guards = append(guards, clientv3.Compare(clientv3.CreateRevision(t.term.key), "=", t.term.rev))
		reads = append(reads, clientv3.OpGet(t.term.key, clientv3.WithKeysOnly()))
	}
	resp, err := s.client.Txn(ctx).If(guards...).
		Then(append(slices.Clone(t.ops), clientv3.OpPut(sl.key, sl.receipt))...).
		Else(reads...).Commit()
	switch {
	case err != nil:
		return 0, rejected(err)
	case resp.Succeeded:
		sl.rev = resp.Header.Revision
		return sl.rev, nil
	}
	return t.diagnose(sl, resp.Responses)
}

// diagnose finds out from what the failed guards' branch read why they failed.
func (t *transaction) diagnose(sl *slot, reads []*pb.ResponseOp) (int64, error) {
	value, rev := firstKV(reads[0])
	switch {
	case rev != 0 && value == sl.receipt: // an earlier attempt was applied and its answer lost
		sl.rev = rev
		return rev, nil
	case rev != sl.rev:
		return 0, errSlotLost
	}
	reads = reads[1:]
	changed := &changedError{revs: map[catalog.Key]int64{}}
	for i, w := range t.writes {
		if _, rev := firstKV(reads[i]); rev != w.Revision {
			changed.revs[w.Key] = w.Revision
		}
	}
	if t.term != nil && firstCreated(reads[len(t.writes)]) != t.term.rev {
		return 0, errFenced
	}
	return 0, changed
}

// settle puts an end to attempts that may still be applied, by changing the receipt that they guard. It returns the
// revision when one of them was applied, cause when none was and none will be, and Unavailable when it cannot tell.
func (s *Store) settle(ctx context.Context, sl *slot, cause error) (int64, error) {
	ctx, cancel := s.bounded(context.WithoutCancel(ctx), s.timing.settle)
	defer cancel()
	backoff := s.timing.retry.Backoff()
	const closed = "closed"
	for {
		resp, err := s.client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(sl.key), "=", sl.rev)).
			Then(clientv3.OpPut(sl.key, closed)).Else(clientv3.OpGet(sl.key)).Commit()
		switch {
		case err != nil && backoff.Wait(ctx) == nil:
			continue // an earlier try that was applied without an answer shows as closed
		case err != nil:
			s.slots.replace(sl)
			return 0, unknown(errors.Join(cause, err))
		case resp.Succeeded:
			sl.rev = resp.Header.Revision
			return 0, cause
		}
		switch value, rev := firstKV(resp.Responses[0]); {
		case rev != 0 && value == sl.receipt:
			sl.rev = rev
			return rev, nil
		case rev > sl.rev && value == closed:
			sl.rev = rev
			return 0, cause
		default:
			s.slots.replace(sl)
			return 0, unknown(errors.Join(cause, errSlotLost))
		}
	}
}

func firstKV(r *pb.ResponseOp) (value string, modRevision int64) {
	if kvs := r.GetResponseRange().GetKvs(); len(kvs) > 0 {
		return string(kvs[0].Value), kvs[0].ModRevision
	}
	return "", 0
}

func firstCreated(r *pb.ResponseOp) int64 {
	if kvs := r.GetResponseRange().GetKvs(); len(kvs) > 0 {
		return kvs[0].CreateRevision
	}
	return 0
}

// rejected sorts the errors by which etcd says that it has not applied a transaction from those that say nothing.
func rejected(err error) error {
	switch {
	case errors.Is(err, rpctypes.ErrNoSpace):
		return fault.Wrap(err, fault.Exhausted, "STORE_FULL", "the store of records is full")
	case errors.Is(err, rpctypes.ErrRequestTooLarge), errors.Is(err, rpctypes.ErrTooManyOps):
		return fault.Wrap(err, fault.Invalid, "RECORD_TOO_LARGE", "the store of records refuses a request of this size")
	case errors.Is(err, rpctypes.ErrPermissionDenied), errors.Is(err, rpctypes.ErrUserEmpty), errors.Is(err, rpctypes.ErrAuthFailed):
		return fault.Wrap(err, fault.Internal, "STORE_DENIED", "the hub may not write to the store of records")
	}
	return fmt.Errorf("%w: %w", errNoAnswer, err)
}

// gaveUp is the error of a commit that stopped trying because the store closed, the caller's ctx ended or time ran out.
func (s *Store) gaveUp(ctx context.Context, cause error) error {
	const message = "the change was not made: the store of records did not answer in time"
	switch {
	case s.ctx.Err() != nil:
		return errClosed
	case errors.Is(ctx.Err(), context.Canceled):
		return fault.Wrap(cause, fault.Cancelled, "CANCELLED", "the request was cancelled")
	case ctx.Err() != nil:
		return fault.Wrap(cause, fault.Timeout, "TIMEOUT", message)
	}
	return fault.Wrap(cause, fault.Unavailable, "STORE_UNAVAILABLE", message)
}

func unknown(cause error) error {
	return fault.Wrap(cause, fault.Unavailable, "OUTCOME_UNKNOWN", "the store of records did not answer; the change may have been made")
}
