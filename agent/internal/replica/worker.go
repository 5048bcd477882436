package replica

import (
	"context"
	"sync"
	"time"

	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
	"github.com/atoll-dcn/atoll/pkg/retry"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// replica is one image in one store. All fields but key, store and wake are guarded by Manager.mu.
type replica struct {
	key   key
	store *store        // nil when the store is not configured
	wake  chan struct{} // the hub repeated what it wants; whoever waits for the hub looks again

	want     want
	seq      uint64 // rises when want changes such that what is being done must stop
	settled  uint64 // seq that has been carried out
	verified uint64 // verify_generation of the latest verification
	running  bool
	place    *ticket            // of the fill that is running; nil when none is
	cancel   context.CancelFunc // of the step that is running

	state        agentv1.ReplicaState
	generation   uint64
	content      image.ID
	failure      *agentv1.Failure
	progress     *tracker
	verification *agentv1.Verification
	adoption     *agentv1.Adoption // what is reported of a copy that is being adopted
	digested     image.ID          // content whose copy this agent has read to adopt it
	root         manifest.Digest   // and what it has found
}

// interruptLocked stops the running step; the worker begins anew with what is wanted now.
func (r *replica) interruptLocked() {
	r.seq++
	if r.cancel != nil {
		r.cancel()
	}
}

// job is one step that a worker carries out: what was wanted when it began.
type job struct {
	*replica
	want  want
	seq   uint64
	tries int // how often the step has been tried before
}

// outcome is how a step ended.
type outcome struct {
	state        agentv1.ReplicaState  // unspecified: nothing to report
	failure      *agentv1.Failure      // reported with the state
	verification *agentv1.Verification // reported when not nil
	adoption     *agentv1.Adoption     // reported with the state
	again        time.Duration         // look again after so long; 0: the goal has been answered
	onWake       bool                  // look again also when the hub says more of its goal, or repeats it in a new session
	vanished     bool                  // nothing is left of a forgotten replica
}

// Run works until ctx ends and all that it started has ended. It returns nil. Call it once.
func (m *Manager) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, s := range m.stores {
		s.begin(ctx)
		wg.Go(func() { m.watchStore(ctx, s) })
		wg.Go(func() { m.scanStore(ctx, s) })
	}
	for {
		m.start(ctx, &wg)
		select {
		case <-ctx.Done():
			return nil
		case <-m.kick:
		}
	}
}

// start starts a worker for each replica that needs one, and the offers that do not run.
func (m *Manager) start(ctx context.Context, wg *sync.WaitGroup) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k := range m.ready {
		delete(m.ready, k)
		r := m.replicas[k]
		if r != nil && !r.running && (r.settled != r.seq || r.mustVerifyLocked()) {
			r.running = true
			wg.Go(func() { m.work(ctx, r) })
		}
	}
	for k, o := range m.offers {
		if !o.running {
			o.running = true
			wg.Go(func() { m.runOffer(ctx, k, o) })
		}
	}
}

// work carries out what is wanted of a replica until there is nothing to do. It is the only goroutine that does.
func (m *Manager) work(ctx context.Context, r *replica) {
	for ctx.Err() == nil {
		step, j, stop := m.begin(ctx, r)
		if stop == nil {
			return
		}
		m.carryOut(step, j)
		stop()
	}
}

// begin takes up what is wanted now. Without anything to do it ends the worker and returns nil for stop.
func (m *Manager) begin(ctx context.Context, r *replica) (context.Context, job, context.CancelFunc) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.settled == r.seq && !r.mustVerifyLocked() {
		r.running, r.cancel = false, nil
		return nil, job{}, nil
	}
	step, stop := context.WithCancel(ctx)
	r.cancel = stop
	select {
	case <-r.wake:
	default:
	}
	return step, job{replica: r, want: r.want, seq: r.seq}, stop
}

// carryOut repeats one step until the goal has been answered or ctx ends.
func (m *Manager) carryOut(ctx context.Context, j job) {
	for ; ; j.tries++ {
		out := m.step(ctx, j)
		if ctx.Err() != nil || !m.finish(j, out) || out.again == 0 {
			return
		}
		var wake <-chan struct{}
		if out.onWake {
			wake = j.wake
		}
		if wait(ctx, out.again, wake) != nil {
			return
		}
	}
}

// wait is retry.Sleep that something else can end early.
func wait(ctx context.Context, d time.Duration, wake <-chan struct{}) error {
	if wake == nil {
		return retry.Sleep(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-wake:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// step looks at the pool and does what the goal asks for.
func (m *Manager) step(ctx context.Context, j job) outcome {
	switch {
	case j.store == nil:
		return m.unknownStore(ctx, j)
	case m.settledBefore(j):
		return m.verifyPublished(ctx, j)
	}
	switch j.want.goal {
	case agentv1.Goal_GOAL_PRESENT:
		if j.want.adopted {
			return m.presentAdopted(ctx, j)
		}
		return m.present(ctx, j)
	case agentv1.Goal_GOAL_ADOPTED:
		return m.adopt(ctx, j)
	case agentv1.Goal_GOAL_CONDEMNED:
		return m.condemned(ctx, j)
	case agentv1.Goal_GOAL_ABSENT:
		return m.absent(ctx, j)
	case agentv1.Goal_GOAL_HOLD:
		return outcome{}
	default:
		return m.forgotten(ctx, j)
	}
}

// settledBefore reports whether the goal has been answered, so that only a verification can be what is left to do.
func (m *Manager) settledBefore(j job) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return j.settled == j.seq
}

// mustVerifyLocked reports whether the hub asks for a verification that has not been done.
func (r *replica) mustVerifyLocked() bool {
	return r.store != nil && r.want.goal == agentv1.Goal_GOAL_PRESENT && r.state == agentv1.ReplicaState_REPLICA_STATE_PRESENT &&
		r.settled == r.seq && r.want.verify != 0 && r.want.verify != r.verified
}
