package replica

import (
	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// State returns what this site sees of a copy as the answer to the latest goal, and the content it is about. It is
// unspecified while nothing has been seen since the process started. A published copy with known damage counts as failed.
func (m *Manager) State(id image.ID, store image.StoreID) (agentv1.ReplicaState, image.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.replicas[key{Store: store, Image: id}]
	if r == nil || r.generation != r.want.generation {
		return agentv1.ReplicaState_REPLICA_STATE_UNSPECIFIED, ""
	}
	if r.verification.GetChunksDamaged() > 0 {
		return agentv1.ReplicaState_REPLICA_STATE_FAILED, r.content
	}
	return r.state, r.content
}
