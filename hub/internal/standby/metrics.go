package standby

import "github.com/prometheus/client_golang/prometheus"

// metrics are the figures of a forwarder.
type metrics struct {
	registry prometheus.Registerer
	open     prometheus.Gauge
	passed   *prometheus.CounterVec
	refused  *prometheus.CounterVec
	bytes    *prometheus.CounterVec
	up, down prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		registry: r,
		open: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "atoll_hub_forwarded_connections", Help: "Connections that are being passed on to the hub that leads.",
		}),
		passed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atoll_hub_forwarded_connections_total", Help: "Connections that were passed on to the hub that leads, by port.",
		}, []string{"port"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atoll_hub_refused_connections_total", Help: "Connections that were closed because nobody leads or there were too many.",
		}, []string{"reason"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atoll_hub_forwarded_bytes_total", Help: "Bytes passed on, to the hub that leads (up) and from it (down).",
		}, []string{"direction"}),
	}
	m.up, m.down = m.bytes.WithLabelValues("up"), m.bytes.WithLabelValues("down")
	if r != nil {
		r.MustRegister(m.all()...)
	}
	return m
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.open, m.passed, m.refused, m.bytes}
}

func (m *metrics) unregister() {
	if m.registry == nil {
		return
	}
	for _, c := range m.all() {
		m.registry.Unregister(c)
	}
}
