package replica

import (
	"github.com/prometheus/client_golang/prometheus"

	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

type metrics struct {
	received, saved, written, resumed, offered, corrupt, fills, verifies, proved, adoptions *prometheus.CounterVec
	healthy, free, depth                                                                    *prometheus.GaugeVec
}

// newMetrics registers the metrics; r may be nil.
func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "atoll_agent_" + name, Help: help}, append([]string{"store"}, labels...))
		if r != nil {
			r.MustRegister(c)
		}
		return c
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "atoll_agent_" + name, Help: help}, []string{"store"})
		if r != nil {
			r.MustRegister(g)
		}
		return g
	}
	return &metrics{
		received:  counter("received_bytes_total", "Bytes of frames received from the hub."),
		saved:     counter("saved_bytes_total", "Bytes that frames in shorter forms did not need on the link."),
		written:   counter("written_bytes_total", "Bytes written to the store."),
		resumed:   counter("resumed_bytes_total", "Bytes found in the store that did not have to be sent again."),
		offered:   counter("offered_bytes_total", "Bytes read from the store and sent to the hub."),
		corrupt:   counter("corrupt_chunks_total", "Chunks that differed from their digest.", "where"),
		fills:     counter("fills_total", "Fills by how they ended.", "result"),
		verifies:  counter("verifications_total", "Verifications of published copies by how they ended.", "result"),
		proved:    counter("proved_chunks_total", "Chunks of copies compared with their manifest, by the store's checksum or by reading them.", "how"),
		adoptions: counter("adoptions_total", "Readings of copies that somebody else has made, by how they ended.", "result"),
		healthy:   gauge("store_healthy", "1 while the store can be used."),
		depth:     gauge("write_depth", "Writes of fills that may be in flight in the store now."),
		free:      gauge("store_free_bytes", "Free bytes of the store; 0 when unknown."),
	}
}

// The places where a chunk can turn out to be corrupt.
const (
	whereFrame  = "frame"  // as received
	whereStore  = "store"  // read back before publishing
	whereAtRest = "atrest" // in a published copy
)

func (m *metrics) store(s *agentv1.StoreStatus) {
	healthy, free := 0.0, 0.0
	if s.Healthy {
		healthy = 1
	}
	if s.TotalBytes > 0 {
		free = float64(s.FreeBytes)
	}
	m.healthy.WithLabelValues(s.StoreId).Set(healthy)
	m.free.WithLabelValues(s.StoreId).Set(free)
}

// proved counts the chunks of a copy that were compared with its manifest.
func (m *Manager) proved(j job) *prometheus.CounterVec {
	return m.metrics.proved.MustCurryWith(prometheus.Labels{"store": string(j.key.Store)})
}
