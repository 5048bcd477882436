package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/retry"
)

// pageSize is how many records are listed at once. Records are small; the largest, of a few hundred KiB, are rare.
const pageSize = 500

// Why the records are listed.
const (
	listStart     = "start"     // nothing is known yet
	listCompacted = "compacted" // the store has forgotten what the watch missed
	listSilence   = "silence"   // the watch gave no sign of life
	listBroken    = "broken"    // the watch failed
	listRepair    = "repair"    // from time to time, in case an event was lost
)

// errUndecodable marks a record that cannot be read.
var errUndecodable = errors.New("undecodable record")

// follow keeps the cache up to date until ctx ends: it lists all records at one revision, watches from there on, and
// starts again when the watch ends for any reason. The first list's outcome is sent to ready.
func (s *Store) follow(ctx context.Context, ready chan<- error) {
	backoff := s.timing.retry.Backoff()
	for reason := listStart; ; {
		rev, err := s.list(ctx, reason)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errUndecodable):
			ready <- fault.Wrap(err, fault.Internal, "RECORD_UNREADABLE", "a record cannot be read")
			return
		case err != nil:
			s.log.Warn("listing the records failed", "reason", reason, "error", err)
			if backoff.Wait(ctx) != nil {
				return
			}
			continue
		}
		if reason == listStart {
			ready <- nil
		}
		s.metrics.sawStore()
		began := time.Now()
		reason = s.watch(ctx, rev)
		if ctx.Err() != nil {
			return
		}
		if reason != listRepair {
			s.log.Warn("following the records starts again", "reason", reason)
		}
		if time.Since(began) > s.timing.silence {
			backoff.Reset()
		} else if backoff.Wait(ctx) != nil { // a watch that fails at once must not become a storm of lists
			return
		}
	}
}

// list reads all records at one revision into the cache and returns the revision.
func (s *Store) list(ctx context.Context, reason string) (int64, error) {
	var (
		records []*record
		rev     int64
		from    = s.keys.records()
		end     = clientv3.GetPrefixRangeEnd(from)
	)
	for {
		page, err := s.page(ctx, from, end, rev)
		if err != nil {
			return 0, err
		}
		if rev == 0 {
			rev = page.Header.Revision // of the first page; the others are read as of it
		}
		for _, kv := range page.Kvs {
			k, ok := s.keys.decode(string(kv.Key))
			if !ok {
				continue
			}
			known := s.cache.record(k)
			if known != nil && known.rev == kv.ModRevision {
				records = append(records, known)
				continue
			}
			r, err := decodeRecord(k, kv.ModRevision, kv.Value)
			switch {
			case err == nil:
				records = append(records, r)
			case reason == listStart:
				return 0, fmt.Errorf("%w: %s: %w", errUndecodable, kv.Key, err)
			default:
				s.unreadable(string(kv.Key), err)
				if known != nil {
					records = append(records, known)
				}
			}
		}
		if !page.More || len(page.Kvs) == 0 {
			break
		}
		from = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
	}
	s.metrics.lists.WithLabelValues(reason).Inc()
	s.cache.replace(rev, newState(records), reason != listStart && reason != listRepair)
	return rev, nil
}

func (s *Store) page(ctx context.Context, from, end string, rev int64) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timing.request)
	defer cancel()
	return s.follower.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(pageSize), clientv3.WithRev(rev))
}

// watch applies the events after revision rev, that of the list, to the cache. It returns why the records must be listed
// again. It asks for the events of rev too, and skips them: to a watch that begins in the future etcd sends no progress
// (seen with 3.7), so that an idle one would look dead.
func (s *Store) watch(ctx context.Context, rev int64) (reason string) {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	events := s.follower.Watch(ctx, s.keys.root(), clientv3.WithPrefix(), clientv3.WithRev(rev), clientv3.WithProgressNotify())
	tick := time.NewTicker(s.timing.progress)
	defer tick.Stop()
	repair := time.NewTimer(retry.Policy{Initial: s.timing.relist, Max: s.timing.relist}.Backoff().Next())
	defer repair.Stop()
	for seen := time.Now(); ; {
		select {
		case <-ctx.Done():
			return listBroken
		case <-repair.C:
			return listRepair
		case <-tick.C:
			if time.Since(seen) > s.timing.silence {
				return listSilence
			}
			s.requestProgress(ctx)
		case r, ok := <-events:
			switch err := r.Err(); {
			case errors.Is(err, rpctypes.ErrCompacted):
				return listCompacted
			case err != nil || !ok:
				if err != nil && ctx.Err() == nil {
					s.log.Warn("watching the records failed", "error", err)
				}
				return listBroken
			}
			seen = time.Now()
			s.metrics.sawStore()
			s.absorb(slices.DeleteFunc(r.Events, func(e *clientv3.Event) bool { return e.Kv.ModRevision <= rev }))
		}
	}
}

// requestProgress asks for a sign of life, which arrives as an empty response.
func (s *Store) requestProgress(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second) // keeps the metadata that names the stream
	defer cancel()
	if err := s.follower.RequestProgress(ctx); err != nil {
		s.log.Debug("asking the watch for a sign of life failed", "error", err)
	}
}

// absorb applies the events of one response: one or more whole revisions, because responses are not fragmented.
// The cache's revision comes from the events only: the header may be ahead of them.
func (s *Store) absorb(events []*clientv3.Event) {
	var changes []change
	for _, e := range events {
		key := string(e.Kv.Key)
		if e.Type == clientv3.EventTypeDelete {
			s.candidateGone(key)
		}
		k, ok := s.keys.decode(key)
		if !ok {
			continue
		}
		if e.Type == clientv3.EventTypeDelete {
			changes = append(changes, change{key: k})
			continue
		}
		r, err := decodeRecord(k, e.Kv.ModRevision, e.Kv.Value)
		if err != nil {
			s.unreadable(key, err)
			continue
		}
		changes = append(changes, change{key: k, rec: r})
	}
	if len(events) > 0 {
		s.cache.apply(events[len(events)-1].Kv.ModRevision, changes)
	}
}

// unreadable reports a record that was overwritten with something this hub cannot read. The cache keeps what it had.
func (s *Store) unreadable(key string, err error) {
	s.metrics.unreadable.Inc()
	s.log.Error("a record cannot be read; its last readable state stays in use", "key", key, "error", err)
}
