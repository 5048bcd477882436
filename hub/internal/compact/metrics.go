package compact

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	made, served prometheus.Counter
	bytes        prometheus.Gauge
}

func newMetrics() metrics {
	return metrics{
		made: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "atoll_compact_chunk_bytes_total", Help: "Bytes of chunks of which a shorter form was looked for.",
		}),
		served: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "atoll_compact_served_bytes_total", Help: "Bytes of shorter frames that were opened for sites.",
		}),
		bytes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "atoll_compact_bytes", Help: "Bytes of shorter frames on disk.",
		}),
	}
}

func (m metrics) register(r prometheus.Registerer) {
	if r != nil {
		r.MustRegister(m.made, m.served, m.bytes)
	}
}
