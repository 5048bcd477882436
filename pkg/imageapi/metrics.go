package imageapi

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// times measures how long requests take.
type times struct{ seconds *prometheus.HistogramVec }

func newTimes(r prometheus.Registerer) *times {
	t := &times{prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "atoll_image_api_request_seconds", Help: "How long requests of the Image API took, bodies included, by route.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60, 600},
	}, []string{"method", "route", "code"})}
	if r != nil {
		r.MustRegister(t.seconds)
	}
	return t
}

func (t *times) observe(method, route string, code int, took time.Duration) {
	if !slices.Contains(verbs, method) && method != http.MethodOptions {
		method = "other"
	}
	t.seconds.WithLabelValues(method, route, strconv.Itoa(code)).Observe(took.Seconds())
}
