package etcdstore

import (
	"context"
	"errors"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// errTermLost tells that a candidate's lease was lost before it came to lead.
var errTermLost = errors.New("the place in the election was lost while waiting")

// Campaign blocks until this hub leads and its cache shows everything that earlier leaders have written, or ctx ends or
// the store closes. It goes on trying while etcd does not answer.
// lost is closed as soon as this hub knows that it no longer leads, at the latest with Close; what it does as the leader
// must end then. Its commits are refused by the store even while it does not know. ctx only limits the waiting.
//
// Places of an earlier life of this hub (the same HubID) are given up first, so that a hub that was killed need not wait
// for its own lease. Two running hubs must therefore never have the same id.
func (s *Store) Campaign(ctx context.Context) (lost <-chan struct{}, err error) {
	s.campaign.Lock()
	defer s.campaign.Unlock()
	if t := s.term.Load(); t != nil && !t.isLost() {
		return nil, fault.New(fault.Internal, "ALREADY_LEADER", "this hub already leads")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.campaigns, func() { cancel(errClosed) })() //nolint:contextcheck // the store's life ends it as well
	backoff := s.timing.retry.Backoff()
	for {
		t, err := s.candidacy(ctx)
		if err == nil {
			s.term.Store(t)
			s.log.Info("this hub leads")
			return t.lost, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		s.log.Warn("campaigning failed", "error", err)
		if backoff.Wait(ctx) != nil {
			return nil, context.Cause(ctx)
		}
	}
}

// candidacy takes a place in the election and waits until it is the first.
func (s *Store) candidacy(ctx context.Context) (*term, error) {
	if err := s.buryEarlierLives(ctx); err != nil {
		return nil, err
	}
	t, err := s.newTerm(ctx)
	if err != nil {
		return nil, err
	}
	if err = s.enter(ctx, t); err == nil {
		err = s.waitTurn(ctx, t)
	}
	if err == nil {
		err = s.catchUp(ctx, t)
	}
	if err != nil {
		ctx, cancel := s.bounded(context.WithoutCancel(ctx), s.timing.settle)
		defer cancel()
		s.drop(ctx, t)
		return nil, err
	}
	return t, nil
}

// buryEarlierLives revokes the leases of all candidates with this hub's id.
func (s *Store) buryEarlierLives(ctx context.Context) error {
	ctx, cancel := s.bounded(ctx, s.timing.request)
	defer cancel()
	resp, err := s.client.Get(ctx, s.keys.leader(), clientv3.WithPrefix())
	if err != nil {
		return err
	}
	for _, kv := range resp.Kvs {
		if parseCandidate(kv.Value).Hub == s.hubID {
			s.log.Info("giving up the lease of an earlier life")
			s.drop(ctx, &term{lease: clientv3.LeaseID(kv.Lease), lost: make(chan struct{})})
		}
	}
	return nil
}

// enter writes the candidate's key.
func (s *Store) enter(ctx context.Context, t *term) error {
	ctx, cancel := s.bounded(ctx, s.timing.request)
	defer cancel()
	resp, err := s.client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(t.key), "=", 0)).
		Then(clientv3.OpPut(t.key, s.value(""), clientv3.WithLease(t.lease))).Commit()
	switch {
	case err != nil:
		return err
	case !resp.Succeeded: // leases are never used twice
		return errTermLost
	}
	t.rev = resp.Header.Revision
	return nil
}

// waitTurn blocks until no older candidate is left.
func (s *Store) waitTurn(ctx context.Context, t *term) error {
	for {
		older, rev, err := s.older(ctx, t)
		if err != nil || older == "" {
			return err
		}
		if err := s.waitGone(ctx, t, older, rev); err != nil {
			return err
		}
	}
}

// catchUp blocks until the cache shows all that was written before this candidate came to lead: earlier leaders can write
// no more. The cache follows only this store's keys, so the mark that it waits for is set on one of them.
func (s *Store) catchUp(ctx context.Context, t *term) error {
	rev, err := s.mark(ctx, t)
	if err != nil {
		return err
	}
	for {
		seen := s.sees(ctx, rev)
		switch {
		case t.isLost():
			return errTermLost
		case seen:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
	}
}

// mark writes the candidate's key once more and returns the revision of that.
func (s *Store) mark(ctx context.Context, t *term) (int64, error) {
	ctx, cancel := s.bounded(ctx, s.timing.request)
	defer cancel()
	resp, err := s.client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(t.key), "=", t.rev)).
		Then(clientv3.OpPut(t.key, s.value(""), clientv3.WithLease(t.lease))).Commit()
	switch {
	case err != nil:
		return 0, err
	case !resp.Succeeded:
		return 0, errTermLost
	}
	return resp.Header.Revision, nil
}

// sees waits a while until the cache has come to revision rev, and reports whether it has.
func (s *Store) sees(ctx context.Context, rev int64) bool {
	ctx, cancel := s.bounded(ctx, s.timing.renew)
	defer cancel()
	return s.cache.waitRevision(ctx, rev) == nil
}

// older returns the key of the candidate right before t, "" when t is the first, and the revision of the answer.
func (s *Store) older(ctx context.Context, t *term) (key string, rev int64, err error) {
	ctx, cancel := s.bounded(ctx, s.timing.request)
	defer cancel()
	resp, err := s.client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(t.key), "=", t.rev)).
		Then(clientv3.OpGet(s.keys.leader(), append(clientv3.WithLastCreate(), clientv3.WithMaxCreateRev(t.rev-1))...)).
		Commit()
	switch {
	case err != nil:
		return "", 0, err
	case !resp.Succeeded:
		return "", 0, errTermLost
	}
	if kvs := resp.Responses[0].GetResponseRange().GetKvs(); len(kvs) > 0 {
		key = string(kvs[0].Key)
	}
	return key, resp.Header.Revision, nil
}

// waitGone blocks until a key is deleted after revision rev, or the watch has to be looked after: it is silent for too
// long or fails. The caller looks again in any case.
func (s *Store) waitGone(ctx context.Context, t *term, key string, rev int64) error {
	ctx, cancel := context.WithTimeout(clientv3.WithRequireLeader(ctx), s.timing.silence)
	defer cancel()
	events := s.client.Watch(ctx, key, clientv3.WithRev(rev+1), clientv3.WithFilterPut())
	select {
	case <-t.lost:
		return errTermLost
	case <-ctx.Done():
		return nil
	case r := <-events:
		return r.Err()
	}
}
