package imageapi

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
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
	// MaxRequests is how many requests are served at the same time, uploads included; more get 503. Default 4096.
	MaxRequests int
}

// service is what all requests have in common.
type service struct {
	router *Router
	o      Options
	log    hclog.Logger
	times  *times
	slots  chan struct{}
}

// Serve returns the handler that does all that the requests have in common and then calls the routes: bounds, request
// ids, discovery, authentication, the rate limit, errors, the access log and measurements. The router must not change
// afterwards.
func (rt *Router) Serve(o Options) http.Handler {
	s := &service{router: rt, o: o, log: o.Log, times: newTimes(o.Registry)}
	if s.log == nil {
		s.log = hclog.NewNullLogger()
	}
	if o.MaxRequests <= 0 {
		o.MaxRequests = 4096
	}
	s.slots = make(chan struct{}, o.MaxRequests)
	return s
}

// ServeHTTP answers one request.
func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e := &exchange{ResponseWriter: w, service: s, begin: time.Now(), route: "none"}
	id, err := requestID(r.Header.Get("X-Openstack-Request-Id"))
	e.id = id
	w.Header().Set("X-Openstack-Request-Id", id)
	defer e.end(r)
	if err == nil {
		err = s.serve(e, r)
	}
	if err != nil {
		e.fail(r, err)
	}
}

// requestID returns the id that answers carry and operations remember. What no id can be is replaced.
func requestID(sent string) (string, error) {
	fresh := func() string { return "req-" + string(image.NewID()) }
	if len(sent) > MaxRequestID {
		return fresh(), Status(fault.BadField("X-Openstack-Request-Id", "it may have at most %d characters", MaxRequestID),
			http.StatusRequestHeaderFieldsTooLarge)
	}
	for _, c := range []byte(sent) {
		if c <= ' ' || c > '~' {
			return fresh(), nil
		}
	}
	switch {
	case sent == "":
		return fresh(), nil
	case len(sent) >= 4 && sent[:4] == "req-":
		return sent, nil
	}
	return "req-" + sent, nil
}

func (s *service) serve(e *exchange, r *http.Request) error {
	if err := checkRequest(r); err != nil {
		return err
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		return fault.New(fault.Unavailable, "TOO_MANY_REQUESTS", "too many requests are being served; try again soon")
	}
	a, err := s.locate(r)
	if err != nil {
		return err
	}
	switch {
	case a.health:
		return s.health(e, r)
	case a.versions != 0:
		e.route = "/versions"
		return WriteJSON(e, a.versions, versionList(s.base(r)+a.prefix))
	}
	c, err := s.authenticate(r)
	if err != nil {
		return err
	}
	caller := *c
	caller.RequestID = e.id
	if a.site != "" {
		caller.Site = a.site
	}
	e.caller = &caller
	if s.o.Limit != nil {
		if err := s.o.Limit(&caller); err != nil {
			wait, _ := auth.RetryAfter(err)
			return Status(&later{error: err, seconds: strconv.Itoa(max(int(wait.Seconds()), 1))}, http.StatusTooManyRequests)
		}
	}
	return s.route(e, r.WithContext(auth.WithToken(auth.With(r.Context(), &caller), r.Header.Get("X-Auth-Token"))), a.segments)
}

// authenticate asks who makes the request.
func (s *service) authenticate(r *http.Request) (*auth.Caller, error) {
	c, err := s.o.Verifier.Verify(r.Context(), r.Header.Get("X-Auth-Token"), r.Header.Get("X-Service-Token"))
	if fault.Is(err, fault.Unauthenticated) {
		return nil, &challenge{error: err, uri: s.o.AuthURI}
	}
	return c, err
}

// challenge is an answer to a caller that is not known.
type challenge struct {
	error
	uri string
}

// Unwrap returns the error itself.
func (c *challenge) Unwrap() error { return c.error }

// Header adds where a token is to be had.
func (c *challenge) Header(h http.Header) {
	scheme := "Keystone"
	if c.uri != "" {
		scheme += ` uri="` + c.uri + `"`
	}
	h.Set("WWW-Authenticate", scheme)
}

// later is an answer that says when to come back.
type later struct {
	error
	seconds string
}

// Unwrap returns the error itself.
func (l *later) Unwrap() error { return l.error }

// Header adds when to come back.
func (l *later) Header(h http.Header) { h.Set("Retry-After", l.seconds) }

// verbs are the methods that exist somewhere in the API.
var verbs = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch}

// route calls the handler of a path.
func (s *service) route(e *exchange, r *http.Request, segments []string) error {
	n, values := s.router.root.find(segments, nil)
	if n == nil {
		if !slices.Contains(verbs, r.Method) {
			return unknownVerb()
		}
		return fault.New(fault.NotFound, "NO_SUCH_PATH", "The resource could not be found.")
	}
	e.route = n.pattern
	handler := n.handler[r.Method]
	if handler == nil {
		if !slices.Contains(verbs, r.Method) && r.Method != http.MethodOptions && r.Method != http.MethodTrace {
			return unknownVerb()
		}
		return &notAllowed{methods: n.methods}
	}
	for _, v := range values {
		r.SetPathValue(v.name, v.text)
	}
	return handler(e, r)
}

func unknownVerb() error {
	return Status(fault.New(fault.Invalid, "UNKNOWN_METHOD", "The method is not known."), http.StatusNotImplemented)
}
