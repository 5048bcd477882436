package replica

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// maxTake bounds the number of replicas in one answer of Take.
const maxTake = 1000

// Changed receives a value when Take has something to return.
func (m *Manager) Changed() <-chan struct{} { return m.changed }

// Take returns what has changed since the latest call of Take or Snapshot, or nil when nothing has. Progress alone makes
// a replica appear at most four times a second.
func (m *Manager) Take() *agentv1.Observed {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := &agentv1.Observed{}
	for k := range m.dirty {
		if len(out.Replicas) == maxTake {
			signal(m.changed)
			break
		}
		delete(m.dirty, k)
		if r := m.replicas[k]; r != nil && r.state != 0 {
			out.Replicas = append(out.Replicas, r.observedLocked())
		}
	}
	for _, s := range m.stores {
		if s.dirty {
			s.dirty = false
			out.Stores = append(out.Stores, proto.CloneOf(s.status))
		}
	}
	if len(out.Replicas) == 0 && len(out.Stores) == 0 {
		return nil
	}
	sortObserved(out)
	return out
}

// Snapshot returns everything and makes Take begin from here.
func (m *Manager) Snapshot() *agentv1.Observed {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.dirty)
	out := &agentv1.Observed{Snapshot: true}
	for _, r := range m.replicas {
		if r.state != 0 {
			out.Replicas = append(out.Replicas, r.observedLocked())
		}
	}
	for _, s := range m.stores {
		s.dirty = false
		out.Stores = append(out.Stores, proto.CloneOf(s.status))
	}
	sortObserved(out)
	return out
}

// Stores returns the state of every store, sorted by id.
func (m *Manager) Stores() []*agentv1.StoreStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := &agentv1.Observed{}
	for _, s := range m.stores {
		out.Stores = append(out.Stores, proto.CloneOf(s.status))
	}
	sortObserved(out)
	return out.Stores
}

func sortObserved(o *agentv1.Observed) {
	slices.SortFunc(o.Replicas, func(a, b *agentv1.ObservedReplica) int {
		return strings.Compare(a.ImageId+a.StoreId, b.ImageId+b.StoreId)
	})
	slices.SortFunc(o.Stores, func(a, b *agentv1.StoreStatus) int { return strings.Compare(a.StoreId, b.StoreId) })
}

func (r *replica) observedLocked() *agentv1.ObservedReplica {
	return &agentv1.ObservedReplica{
		ImageId: string(r.key.Image), StoreId: string(r.key.Store), Generation: r.generation, State: r.state,
		ContentId: string(r.content), Progress: r.progress.report(), Failure: r.failure, Verification: r.verification,
		Adoption: r.adoption,
	}
}

// dirtyLocked has Take return the replica.
func (m *Manager) dirtyLocked(r *replica) {
	m.dirty[r.key] = struct{}{}
	signal(m.changed)
}

// report changes what is reported of a replica unless something else is wanted of it by now.
func (m *Manager) report(j job, change func(r *replica)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if j.replica.seq == j.seq {
		change(j.replica)
		m.dirtyLocked(j.replica)
	}
}

// enter reports that a replica is in a state now, without a failure.
func (m *Manager) enter(j job, state agentv1.ReplicaState) {
	m.report(j, func(r *replica) {
		r.state, r.generation, r.failure, r.content = state, j.want.generation, nil, j.want.content
	})
}

// finish takes over how a step ended. It returns false when something else is wanted by now.
func (m *Manager) finish(j job, out outcome) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := j.replica
	if r.seq != j.seq {
		return false
	}
	if out.again == 0 {
		r.settled = r.seq
	}
	if out.vanished {
		delete(m.replicas, r.key)
		delete(m.dirty, r.key)
		return true
	}
	if out.state == 0 && out.verification == nil {
		return true
	}
	was := r.observedLocked()
	if out.state != 0 {
		r.state, r.generation, r.failure, r.adoption = out.state, j.want.generation, out.failure, out.adoption
		if j.want.content != "" {
			r.content = j.want.content
		}
		if out.state == agentv1.ReplicaState_REPLICA_STATE_ABSENT { // what is written in its place has not been verified
			r.verification, r.verified = nil, 0
		}
	}
	if out.verification != nil {
		r.verification, r.verified = out.verification, out.verification.Generation
	}
	if !proto.Equal(was, r.observedLocked()) {
		m.logOutcome(j, out)
		m.dirtyLocked(r)
	}
	return true
}

func (m *Manager) logOutcome(j job, out outcome) {
	if out.state == 0 {
		return
	}
	log := m.log.With("image", j.key.Image, "store", j.key.Store, "generation", j.want.generation)
	if f := out.failure; f != nil {
		log.Warn("goal not reached", "state", stateName(out.state), "reason", f.Reason, "message", f.Message, "retryable", f.Retryable)
		return
	}
	log.Info("goal reached", "state", stateName(out.state))
}

func stateName(s agentv1.ReplicaState) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "REPLICA_STATE_"))
}
