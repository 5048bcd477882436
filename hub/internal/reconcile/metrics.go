package reconcile

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Metrics count what becomes of proofs and of damaged copies. A nil one counts nothing.
type Metrics struct {
	scrubs        prometheus.Counter
	verifications *prometheus.CounterVec
	repairs       *prometheus.CounterVec
	age           *prometheus.Desc
	now           func() time.Time

	mu     sync.Mutex
	oldest map[image.SiteID]time.Time
}

// NewMetrics registers the metrics of a hub; r nil registers none.
func NewMetrics(r prometheus.Registerer, now func() time.Time) *Metrics {
	m := &Metrics{
		scrubs: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "atoll_hub_scrubs_total", Help: "Verifications that the hub has begun by itself.",
		}),
		verifications: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atoll_hub_verifications_total", Help: "Verifications that have ended, by result: clean, damaged or failed.",
		}, []string{"result"}),
		repairs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atoll_hub_repairs_total", Help: "Damaged copies, by what became of them: begun, done or refused.",
		}, []string{"result"}),
		age: prometheus.NewDesc("atoll_hub_oldest_proof_seconds",
			"Time since the copy of a site was proven whose latest proof is the oldest.", []string{"site"}, nil),
		now: now, oldest: map[image.SiteID]time.Time{},
	}
	if r != nil {
		r.MustRegister(m.scrubs, m.verifications, m.repairs, m)
	}
	return m
}

// Describe is for Prometheus.
func (m *Metrics) Describe(out chan<- *prometheus.Desc) { out <- m.age }

// Collect is for Prometheus.
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for site, at := range m.oldest {
		out <- prometheus.MustNewConstMetric(m.age, prometheus.GaugeValue, m.now().Sub(at).Seconds(), string(site))
	}
}

// proof notes the oldest proof of a site; the zero time for one without copies.
func (m *Metrics) proof(site image.SiteID, at time.Time) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if at.IsZero() {
		delete(m.oldest, site)
	} else {
		m.oldest[site] = at
	}
}

func (m *Metrics) forget(site image.SiteID) { m.proof(site, time.Time{}) }

func (m *Metrics) begun() {
	if m != nil {
		m.scrubs.Inc()
	}
}

// changed counts what a plan has found out about one copy.
func (m *Metrics) changed(before, after *storev1.Replica) {
	if m == nil {
		return
	}
	if after.VerifiedGeneration > before.GetVerifiedGeneration() {
		m.verifications.WithLabelValues(verdictOf(after)).Inc()
	}
	switch was := before.GetRepair(); {
	case after.Repair == was:
	case after.Repair == repairChecking:
		m.repairs.WithLabelValues("begun").Inc()
	case after.Repair == repairRefused:
		m.repairs.WithLabelValues("refused").Inc()
	case was == repairFilling && after.Phase == storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE:
		m.repairs.WithLabelValues("done").Inc()
	}
}

func verdictOf(r *storev1.Replica) string {
	switch {
	case r.VerifyMessage != "":
		return "failed"
	case r.ChunksDamaged > 0:
		return "damaged"
	default:
		return "clean"
	}
}
