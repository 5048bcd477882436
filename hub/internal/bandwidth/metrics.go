package bandwidth

import "github.com/prometheus/client_golang/prometheus"

// newMetrics registers the metrics of a limiter; nil registers none.
func newMetrics(r prometheus.Registerer) *prometheus.CounterVec {
	moved := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "atoll_hub_frame_bytes_total", Help: "Bytes of frames that moved between the hub and a site over the network, both ways.",
	}, []string{"site"})
	if r != nil {
		r.MustRegister(moved)
	}
	return moved
}
