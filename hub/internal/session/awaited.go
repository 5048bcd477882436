package session

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// mostAwaited is how many copies of one message are looked at.
const mostAwaited = 100

// The outcomes of what a site says about a copy that somebody waits for.
const (
	awaitedRaised  = "raised"
	awaitedKept    = "kept"    // it goes first already, or is not under way
	awaitedRefused = "refused" // it is none of the site's
	awaitedFailed  = "failed"  // the record could not be written
)

// newAwaited registers the counter of copies that sites say somebody waits for; nil registers nothing.
func newAwaited(r prometheus.Registerer) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "atoll_hub_awaited_copies_total",
		Help: "Copies that sites said somebody there waits for, by outcome: raised, kept as they were, refused or failed.",
	}, []string{"outcome"})
	for _, outcome := range []string{awaitedRaised, awaitedKept, awaitedRefused, awaitedFailed} {
		c.WithLabelValues(outcome)
	}
	if r != nil {
		r.MustRegister(c)
	}
	return c
}

// await raises copies that somebody at the site waits for. Only those in the stores of this session are the site's to raise.
// When a record cannot be written it leaves the rest: nothing is read from the agent meanwhile, and the site says it again.
func (ss *session) await(m *agentv1.Awaited) {
	for _, k := range m.Replicas[:min(len(m.Replicas), mostAwaited)] {
		outcome := ss.raise(k)
		ss.service.awaited.WithLabelValues(outcome).Inc()
		if outcome == awaitedFailed {
			return
		}
	}
}

// raise raises one copy and returns the outcome.
func (ss *session) raise(k *agentv1.ReplicaKey) string {
	id, store := image.ID(k.ImageId), image.StoreID(k.StoreId)
	if !ss.accepted[store] {
		return awaitedRefused
	}
	raised, err := ss.service.Catalog.RaiseReplica(ss.ctx, id, store)
	switch {
	case err != nil:
		ss.service.Log.Warn("copy that is waited for not raised", "site", string(ss.site), "image", k.ImageId, "store", k.StoreId, "error", err)
		return awaitedFailed
	case raised:
		ss.service.Log.Info("somebody at the site waits for a copy; it goes first", "site", string(ss.site), "image", k.ImageId, "store", k.StoreId)
		return awaitedRaised
	}
	return awaitedKept
}
