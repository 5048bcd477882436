package catalog

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// RaiseReplica gives a copy the highest priority because somebody at its site waits for it, and notes when. It reports whether
// it has changed the copy: one that nobody has asked for, that is complete, given up or being removed, or that goes before others
// already stays as it is. The caller makes sure that who waits is at the copy's site.
func (c *Catalog) RaiseReplica(ctx context.Context, id image.ID, store image.StoreID) (raised bool, err error) {
	err = c.repeat(ctx, func() error {
		old, rev := c.records.Replica(id, store)
		if raised = underWay(old) && old.Priority != storev1.Priority_PRIORITY_HIGH; !raised {
			return nil
		}
		r := proto.CloneOf(old)
		r.Priority, r.AwaitedTime = storev1.Priority_PRIORITY_HIGH, c.stamp()
		return c.records.Commit(ctx, Write{Key: ReplicaKey(id, store), Value: r, Revision: rev})
	})
	return raised && err == nil, err
}

// underWay reports whether data of a copy moves or is going to.
func underWay(r *storev1.Replica) bool {
	switch r.GetPhase() {
	case storev1.ReplicaPhase_REPLICA_PHASE_PENDING, storev1.ReplicaPhase_REPLICA_PHASE_TRANSFERRING:
		return r.Removal == storev1.Removal_REMOVAL_UNSPECIFIED && !r.Adopted
	default:
		return false
	}
}
