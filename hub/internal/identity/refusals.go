package identity

import (
	"crypto/x509"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/pki"
)

const (
	repeatLog = time.Minute // the same refusal of the same address is logged once in this time
	mostLogs  = 1000        // addresses remembered for that
)

// refusals logs, counts and remembers refused connections.
type refusals struct {
	read  catalog.Reader
	log   hclog.Logger
	now   func() time.Time
	count *prometheus.CounterVec

	mu     sync.Mutex
	sites  map[image.SiteID]refusal // only of sites that exist, so bounded
	logged map[string]time.Time     // by address and reason
}

type refusal struct {
	message string
	at      time.Time
}

func newRefusals(c Config) *refusals {
	r := &refusals{
		read: c.Catalog.Read(), log: c.Log, now: c.Now, sites: map[image.SiteID]refusal{}, logged: map[string]time.Time{},
		count: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atoll_identity_refusals_total", Help: "Connections and joins of agents that were refused, by reason.",
		}, []string{"reason"}),
	}
	if c.Registry != nil {
		c.Registry.MustRegister(r.count)
	}
	return r
}

// note records a refusal. cert is what the caller has shown, if anything; what it claims is not verified.
func (r *refusals) note(cert *x509.Certificate, address string, err error) {
	var claimed image.SiteID
	if cert != nil {
		claimed, _ = pki.ClaimedSite(cert)
	}
	r.noteSite(claimed, address, err)
}

func (r *refusals) noteSite(claimed image.SiteID, address string, err error) {
	reason := fault.ReasonOf(err)
	r.count.WithLabelValues(reason).Inc()
	now := r.now()
	known, _ := r.read.Site(claimed)
	r.mu.Lock()
	defer r.mu.Unlock()
	if known != nil {
		r.sites[claimed] = refusal{reason + ": " + fault.Public(err) + " (from " + address + ")", now}
	}
	key := address + " " + reason
	if now.Sub(r.logged[key]) < repeatLog {
		return
	}
	if len(r.logged) >= mostLogs {
		clear(r.logged)
	}
	r.logged[key] = now
	r.log.Warn("agent refused", "reason", reason, "error", err, "claimed_site", string(claimed), "address", address)
}

func (r *refusals) last(site image.SiteID) (string, time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sites[site].message, r.sites[site].at
}
