package etcdstore

import (
	"context"
	"encoding/json"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// Leader is what the records say of the hub that leads.
type Leader struct {
	Term int64  // the creation revision of its place in the election, higher for every later leader; 0: nobody leads
	Hub  string // its id
	Note string // what it says of itself with Publish; empty before that
}

// candidate is the value of a key in the election. Earlier versions wrote the id alone.
type candidate struct {
	Hub  string `json:"hub"`
	Note string `json:"note,omitempty"`
}

// value returns what a candidate's key holds.
func (s *Store) value(note string) string {
	b, _ := json.Marshal(candidate{s.hubID, note}) // strings always encode
	return string(b)
}

func parseCandidate(value []byte) candidate {
	var c candidate
	if json.Unmarshal(value, &c) != nil || c.Hub == "" {
		return candidate{Hub: string(value)}
	}
	return c
}

// Term returns the creation revision of this hub's latest place in the election, 0 before the first Campaign has succeeded.
// Terms of later leaders are higher.
func (s *Store) Term() int64 {
	if t := s.term.Load(); t != nil {
		return t.rev
	}
	return 0
}

// Publish makes note known to the other hubs for as long as this one leads, in place of an earlier note. It tries again
// until ctx ends or the lead is lost, which is a Conflict error (NOT_LEADER).
func (s *Store) Publish(ctx context.Context, note string) error {
	t := s.term.Load()
	if t == nil || t.isLost() {
		return errNotLeader(nil)
	}
	backoff := s.timing.retry.Backoff()
	for {
		err := s.publish(ctx, t, note)
		switch {
		case err == nil:
			return nil
		case fault.Is(err, fault.Conflict) || t.isLost():
			return errNotLeader(err)
		}
		s.log.Warn("telling the other hubs who leads failed", "error", err)
		if backoff.Wait(ctx) != nil {
			return context.Cause(ctx)
		}
	}
}

func (s *Store) publish(ctx context.Context, t *term, note string) error {
	ctx, cancel := s.bounded(ctx, s.timing.request)
	defer cancel()
	resp, err := s.client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(t.key), "=", t.rev)).
		Then(clientv3.OpPut(t.key, s.value(note), clientv3.WithLease(t.lease))).Commit()
	switch {
	case err != nil:
		return err
	case !resp.Succeeded:
		return errNotLeader(errTermLost)
	}
	return nil
}

// WatchLeader calls tell with who leads, at once and whenever that or its note has changed, until ctx ends, which yields
// nil. While etcd does not answer tell hears nothing: a leader that was known goes on being so. Calls come from this
// goroutine only.
func (s *Store) WatchLeader(ctx context.Context, tell func(Leader)) error {
	var told *Leader
	backoff := s.timing.retry.Backoff()
	for {
		l, rev, err := s.leader(ctx)
		if err == nil {
			if told == nil || *told != l {
				told = &l
				tell(l)
			}
			err = s.waitElection(ctx, rev)
		}
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // it was told to stop
		case s.ctx.Err() != nil:
			return errClosed
		case err == nil:
			backoff.Reset()
		case backoff.Wait(ctx) != nil:
			return nil //nolint:nilerr // it was told to stop
		}
	}
}

// leader returns who leads and the revision at which that was so.
func (s *Store) leader(ctx context.Context) (Leader, int64, error) {
	ctx, cancel := s.bounded(ctx, s.timing.request)
	defer cancel()
	resp, err := s.client.Get(ctx, s.keys.leader(), clientv3.WithFirstCreate()...)
	if err != nil {
		return Leader{}, 0, fault.Wrap(err, fault.Unavailable, "STORE_UNAVAILABLE", "the store of records does not answer")
	}
	if len(resp.Kvs) == 0 {
		return Leader{}, resp.Header.Revision, nil
	}
	c := parseCandidate(resp.Kvs[0].Value)
	return Leader{Term: resp.Kvs[0].CreateRevision, Hub: c.Hub, Note: c.Note}, resp.Header.Revision, nil
}

// waitElection blocks until a candidate's key has changed after revision rev or it is time to look again in any case.
func (s *Store) waitElection(ctx context.Context, rev int64) error {
	ctx, cancel := s.bounded(ctx, s.timing.progress)
	defer cancel()
	events := s.client.Watch(clientv3.WithRequireLeader(ctx), s.keys.leader(), clientv3.WithPrefix(), clientv3.WithRev(rev+1))
	select {
	case <-ctx.Done():
		return nil
	case r := <-events:
		return r.Err()
	}
}

// Leader returns the id of the hub that leads now, "" when none does.
func (s *Store) Leader(ctx context.Context) (hubID string, err error) {
	l, _, err := s.leader(ctx)
	return l.Hub, err
}

// Agree returns the value that all hubs have agreed on under a name: the first one that any of them has proposed, which is
// kept for ever. An empty value proposes nothing: the answer is empty then if nobody has. Unavailable when etcd does not
// answer; the value may have been written then.
func (s *Store) Agree(ctx context.Context, name, value string) (agreed string, err error) {
	ctx, cancel := s.bounded(ctx, s.timing.request)
	defer cancel()
	key := s.keys.agreed() + name
	var propose []clientv3.Op
	if value != "" {
		propose = append(propose, clientv3.OpPut(key, value))
	}
	resp, err := s.client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
		Then(propose...).Else(clientv3.OpGet(key)).Commit()
	if err != nil {
		return "", fault.Wrap(err, fault.Unavailable, "STORE_UNAVAILABLE", "the store of records does not answer")
	}
	if resp.Succeeded {
		return value, nil
	}
	if kvs := resp.Responses[0].GetResponseRange().GetKvs(); len(kvs) > 0 {
		return string(kvs[0].Value), nil
	}
	return "", nil
}
