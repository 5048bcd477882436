package replica

import (
	"context"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// condemned carries out GOAL_CONDEMNED.
func (m *Manager) condemned(ctx context.Context, j job) outcome {
	if err := j.store.looks.take(ctx); err != nil {
		return outcome{}
	}
	defer j.store.looks.give()
	inUse, taken, err := m.takeAway(ctx, j)
	switch {
	case err != nil:
		return m.failed(ctx, j, err)
	case inUse:
		return isInUse(0)
	case taken:
		return outcome{state: agentv1.ReplicaState_REPLICA_STATE_CONDEMNED}
	}
	hidden, err := j.store.find(ctx, hiddenName(j.key.Image))
	switch {
	case err != nil:
		return m.failed(ctx, j, err)
	case hidden.exists:
		return outcome{state: agentv1.ReplicaState_REPLICA_STATE_CONDEMNED}
	default:
		return outcome{state: agentv1.ReplicaState_REPLICA_STATE_ABSENT}
	}
}

// absent carries out GOAL_ABSENT. The hidden image goes first: a publication that a dead agent left under way either
// happened before and is seen afterwards, or can happen no more.
func (m *Manager) absent(ctx context.Context, j job) outcome {
	if err := j.store.looks.take(ctx); err != nil {
		return outcome{}
	}
	defer j.store.looks.give()
	if err := m.dropUnpublished(ctx, j); err != nil {
		return m.notRemoved(ctx, j, err)
	}
	inUse, taken, err := m.takeAway(ctx, j)
	switch {
	case err != nil:
		return m.failed(ctx, j, err)
	case inUse:
		return isInUse(m.pace.inUse)
	case taken:
		if err := m.removeName(ctx, j.store, condemnedName(j.key.Image)); err != nil {
			return m.notRemoved(ctx, j, err)
		}
	}
	m.dropSums(j)
	return outcome{state: agentv1.ReplicaState_REPLICA_STATE_ABSENT}
}

// forgotten removes what is unpublished of a replica that the hub does not name. What was published stays: a condemned
// copy is reported, for the hub to decide.
func (m *Manager) forgotten(ctx context.Context, j job) outcome {
	if err := j.store.looks.take(ctx); err != nil {
		return outcome{}
	}
	defer j.store.looks.give()
	m.dropSums(j)
	err := m.dropUnpublished(ctx, j)
	var condemned found
	if err == nil {
		condemned, err = j.store.find(ctx, condemnedName(j.key.Image))
	}
	switch {
	case err != nil:
		m.log.Debug("unwanted data not removed", "image", j.key.Image, "store", j.key.Store, "error", err)
		return outcome{again: jitter(m.pace.healthy)}
	case condemned.exists:
		return outcome{state: agentv1.ReplicaState_REPLICA_STATE_CONDEMNED}
	default:
		return outcome{vanished: true}
	}
}

// takeAway renames the published copy to its condemned name unless it has clones. A clone that appears in between makes
// it rename back, and so does one that a crash left in between. taken says that a condemned copy without clones is there.
func (m *Manager) takeAway(ctx context.Context, j job) (inUse, taken bool, err error) {
	s, live, dead := j.store, publishedName(j.key.Image), condemnedName(j.key.Image)
	published, err := s.find(ctx, live)
	if err != nil {
		return false, false, err
	}
	if published.content != "" || published.exists && j.want.adopted { // an image that is not ours is none of our business
		n, err := s.pool.Children(ctx, live)
		if err != nil || n > 0 {
			return n > 0, false, atStore(err)
		}
		if err := m.rename(ctx, j, live, dead); err != nil {
			return false, false, err
		}
	}
	n, err := s.pool.Children(ctx, dead)
	switch {
	case fault.Is(err, fault.NotFound):
		return false, false, nil
	case err != nil:
		return false, false, atStore(err)
	case n == 0:
		return false, true, nil
	}
	err = m.firmly(ctx, s, func(ctx context.Context) error { return s.pool.Rename(ctx, dead, live) })
	return true, false, err
}

// rename takes the published name away. A copy that was condemned earlier and then replaced makes room.
func (m *Manager) rename(ctx context.Context, j job, live, dead string) error {
	s := j.store
	n, err := s.pool.Children(ctx, dead)
	switch {
	case fault.Is(err, fault.NotFound):
	case err != nil:
		return atStore(err)
	case n > 0:
		return atStore(fault.New(fault.Precondition, "IN_USE", "an older copy of this image still has clones"))
	default:
		if err := m.removeName(ctx, s, dead); err != nil {
			return err
		}
	}
	return m.firmly(ctx, s, func(ctx context.Context) error { return s.pool.Rename(ctx, live, dead) })
}

// notRemoved waits for those who have the image open, a while; other errors are failures.
func (m *Manager) notRemoved(ctx context.Context, j job, err error) outcome {
	if !busy(err) || j.tries >= m.pace.busyTries {
		return m.failed(ctx, j, err)
	}
	m.log.Debug("image is open elsewhere, removal waits", "image", j.key.Image, "store", j.key.Store)
	return outcome{again: jitter(m.pace.busy)}
}

func isInUse(again time.Duration) outcome {
	return outcome{
		state:   agentv1.ReplicaState_REPLICA_STATE_IN_USE,
		failure: &agentv1.Failure{Reason: "IN_USE", Message: "the copy has clones"},
		again:   again,
	}
}
