package reconcile

import (
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// raiseReplicas gives each copy under way the highest priority of the operations that want it. It never lowers one.
func (p *planner) raiseReplicas() {
	for _, o := range p.ops {
		if !fills(o) {
			continue
		}
		for _, part := range o.Stores {
			r := p.replicas[image.StoreID(part.StoreId)]
			if r != nil && r.Phase != storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE && RankOf(o.Priority) > RankOf(r.Priority) {
				r.Priority = o.Priority
			}
		}
	}
}

// RankOf orders priorities: the highest is first, and what is not said is normal.
func RankOf(p storev1.Priority) int {
	switch p {
	case storev1.Priority_PRIORITY_LOW:
		return -1
	case storev1.Priority_PRIORITY_HIGH:
		return 1
	default:
		return 0
	}
}
