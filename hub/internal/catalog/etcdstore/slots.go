package etcdstore

import (
	"context"
	"fmt"
	"sync/atomic"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/atoll-dcn/atoll/pkg/image"
)

// mostCommits bounds the commits of one hub that are under way at a time. More wait.
const mostCommits = 32

// slot names the receipt of one commit at a time: a key that every attempt of the commit guards and overwrites.
type slot struct {
	key     string
	rev     int64  // at which the receipt was last written, 0 when it never was
	receipt string // what the commit under way writes
}

// slots hands out slots.
type slots struct {
	prefix string
	free   chan *slot
	named  atomic.Int64 // names handed out
}

func newSlots(prefix string) *slots {
	s := &slots{prefix: prefix, free: make(chan *slot, mostCommits)}
	for range mostCommits {
		sl := &slot{}
		s.replace(sl)
		s.free <- sl
	}
	return s
}

// take blocks until a slot is free or ctx ends. Give the slot back.
func (s *slots) take(ctx context.Context) (*slot, error) {
	select {
	case sl := <-s.free:
		sl.receipt = string(image.NewID())
		return sl, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// give takes a slot back.
func (s *slots) give(sl *slot) { s.free <- sl }

// replace moves a slot whose receipt is in doubt to a key that was never used.
func (s *slots) replace(sl *slot) {
	sl.key, sl.rev = fmt.Sprintf("%s%d", s.prefix, s.named.Add(1)), 0
}

// clearReceipts removes the receipts of this hub: at the start those of earlier lives, at the end its own.
func (s *Store) clearReceipts(ctx context.Context) {
	ctx, cancel := s.bounded(ctx, s.timing.request)
	defer cancel()
	if _, err := s.client.Delete(ctx, s.keys.commits()+s.hubID+"/", clientv3.WithPrefix()); err != nil {
		s.log.Debug("removing old receipts failed; the next start does it", "error", err)
	}
}
