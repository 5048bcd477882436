package app

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-dcn/atoll/agent/internal/identity"
	"github.com/atoll-dcn/atoll/agent/internal/link"
)

// observe registers the figures of the link and of the certificate.
func observe(r prometheus.Registerer, session *link.Link, keeper *identity.Keeper) {
	r.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "atoll_agent_connected", Help: "1 while there is a session with the hub, else 0.",
		}, func() float64 {
			if session.Healthy() != nil {
				return 0
			}
			return 1
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "atoll_agent_certificate_expiry_timestamp_seconds", Help: "When the certificate in use expires, in Unix time.",
		}, func() float64 { return float64(keeper.Current().Cert.NotAfter.Unix()) }),
	)
}
