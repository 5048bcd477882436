package edge

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// patience is how long the hub's answer may take to begin.
type patience struct {
	first time.Duration // when the site can answer instead
	read  time.Duration // other reads
	write time.Duration // changes without data
}

var usual = patience{first: time.Second, read: 5 * time.Second, write: time.Minute}

// ServeHTTP answers a request here or has the hub answer it; see the package comment.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("X-Openstack-Request-Id") == "" {
		r.Header.Set("X-Openstack-Request-Id", "req-"+string(image.NewID())) // the same here and at the hub
	}
	t := parse(r)
	answer := choose(r.Method, t, s.view(r, t))
	if answer == site {
		s.here(w, r)
		return
	}
	c := call{patience: s.patience.write}
	switch {
	case answer == hubFirst:
		c.patience, c.fallback = s.patience.first, true
	case answer == hubPatient:
		c.patience = 0
	case r.Method == http.MethodGet:
		c.patience = s.patience.read
	}
	changes := r.Method != http.MethodGet && t.image != ""
	if changes {
		c.answered = func(code int) { // what was refused, to a stranger perhaps, has changed nothing
			if code < http.StatusBadRequest {
				s.recent.add(t.image)
			}
		}
	}
	if waits(r.Method, t) {
		c.answered = func(code int) { // strangers, to whom the hub does not show the image, wait for nothing
			if code < http.StatusMultipleChoices {
				s.Awaited.add(t.image, s.Catalogue.OnTheWay(t.image))
			}
		}
	}
	err := s.hub.pass(w, r, c)
	if changes && fault.Is(err, fault.Timeout) {
		s.recent.add(t.image)
	}
	switch {
	case err == nil:
		s.answers.WithLabelValues("hub").Inc()
	case answer == hubFirst && s.complete(r, t):
		if t.kind == list || t.kind == stores {
			w.Header().Set("X-Atoll-Partial", "true")
		}
		s.here(w, r)
	default:
		s.refuse(w, r, err)
	}
}

// view returns what matters about the image of a request.
func (s *Server) view(r *http.Request, t target) view {
	if t.image == "" {
		return view{}
	}
	img := s.Catalogue.Image(t.image)
	if img == nil {
		return view{}
	}
	v := view{known: true, held: len(img.Stores) > 0}
	switch t.kind {
	case bytesOf:
		v.sick = v.held && !s.well(img.Stores)
	case record, members, places:
		v.fresh = s.recent.has(t.image) || strings.Contains(r.Header.Get("Cache-Control"), "no-cache")
	}
	return v
}

// well reports whether one of the stores answered when it was last looked at.
func (s *Server) well(stores []string) bool {
	return slices.ContainsFunc(s.Copies.Stores(), func(st *agentv1.StoreStatus) bool {
		return st.Healthy && slices.Contains(stores, st.StoreId)
	})
}

// complete reports whether the site can answer a request that the hub did not answer. It cannot go on with a list after an
// image that it does not know.
func (s *Server) complete(r *http.Request, t target) bool {
	if t.kind != list {
		return true
	}
	marker := r.URL.Query().Get("marker")
	return marker == "" || s.Catalogue.Image(image.ID(marker)) != nil
}

// here answers from what the site has.
func (s *Server) here(w http.ResponseWriter, r *http.Request) {
	s.answers.WithLabelValues("site").Inc()
	h := w.Header()
	h.Set("X-Atoll-Site", string(s.Site))
	if s.Linked() != nil {
		h.Set("Warning", `110 - "Response is Stale"`)
	}
	s.local.ServeHTTP(w, s.ownStores(r))
}

// ownStores drops stores of other sites from the preference for a store, which nobody here can follow.
func (s *Server) ownStores(r *http.Request) *http.Request {
	if !strings.Contains(r.URL.RawQuery, "prefer=") {
		return r
	}
	q := r.URL.Query()
	own := s.Copies.Stores()
	keep := slices.DeleteFunc(strings.Split(q.Get("prefer"), ","), func(name string) bool {
		return !slices.ContainsFunc(own, func(st *agentv1.StoreStatus) bool { return st.StoreId == strings.TrimSpace(name) })
	})
	q.Set("prefer", strings.Join(keep, ","))
	out := r.Clone(r.Context())
	out.URL.RawQuery = q.Encode()
	return out
}

// refuse answers that nobody can answer.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	s.answers.WithLabelValues("nobody").Inc()
	code := imageapi.StatusOf(err)
	title := http.StatusText(code)
	s.Log.Debug("request not answered", "method", r.Method, "path", r.URL.Path, "reason", fault.ReasonOf(err), "error", err)
	h := w.Header()
	h.Set("X-Atoll-Site", string(s.Site))
	h.Set("X-Openstack-Request-Id", r.Header.Get("X-Openstack-Request-Id"))
	if code == http.StatusServiceUnavailable {
		h.Set("Retry-After", "5")
	}
	_ = imageapi.WriteJSON(w, code, map[string]string{ // strings always encode
		"message": fault.Public(err), "code": strconv.Itoa(code) + " " + title, "title": title,
	})
}
