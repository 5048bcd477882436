package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
)

// Config is what a Server needs. All fields without a remark are required.
type Config struct {
	Site      image.SiteID
	Catalogue *Catalogue
	Awaited   *Awaited // gets to know which images clients wait for
	Copies    Copies
	Pools     map[image.StoreID]rbd.Pool // the stores of the site; the Server does not close them
	Linked    func() error               // nil while there is a session with the hub
	Hub       *url.URL                   // the hub's Image API
	HubTLS    *tls.Config                // nil: the system's certificates
	Verifier  auth.Verifier
	AuthURI   string // told to clients without a valid token; may be empty
	Policy    imageapi.Policy
	// PublicEndpoint is the URL that clients know the site's Image API by; empty: the one they ask.
	PublicEndpoint string
	Log            hclog.Logger
	Registry       prometheus.Registerer
	Now            func() time.Time
}

// Server is the Image API of a site. Run it once.
type Server struct {
	Config
	local   http.Handler
	hub     *hub
	recent  *recent
	answers *prometheus.CounterVec
	// patience is how long the hub may take.
	patience patience
	// farewell is how long requests may go on after the end of Run's context.
	farewell time.Duration
}

// sharedRequests bounds the requests that the site answers at once.
const sharedRequests = 1024

// New returns a server that serves nothing before Run.
func New(c Config) *Server {
	s := &Server{
		Config: c, hub: newHub(c.Hub, c.Site, c.HubTLS, c.Log, c.Now),
		recent: &recent{now: c.Now, until: map[image.ID]time.Time{}}, patience: usual, farewell: 5 * time.Second,
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atoll_agent_image_answers_total", Help: "Requests to the site's Image API by who answered: site, hub or nobody.",
		}, []string{"by"}),
	}
	c.Registry.MustRegister(s.answers)
	for _, by := range []string{"site", "hub", "nobody"} {
		s.answers.WithLabelValues(by)
	}
	rt := imageapi.NewRouter()
	reads := &imageapi.Reads{Source: c.Catalogue, Policy: c.Policy, Open: newData(c.Pools, c.Log), Stores: s.stores}
	reads.Register(rt)
	rt.Handle(http.MethodGet, "/v2/images/{id}/locations", func(w http.ResponseWriter, r *http.Request) error {
		return locations(reads, w, r)
	})
	s.local = rt.Serve(imageapi.Options{
		Verifier: c.Verifier, AuthURI: c.AuthURI, Log: c.Log, Registry: c.Registry, PublicEndpoint: c.PublicEndpoint, Sites: true,
		MaxRequests: sharedRequests,
	})
	return s
}

// stores returns the site's stores.
func (s *Server) stores() []imageapi.Store {
	var out []imageapi.Store
	for _, st := range s.Copies.Stores() {
		kind := "rbd"
		if st.Driver == "file" {
			kind = "file"
		}
		out = append(out, imageapi.Store{ID: st.StoreId, Type: kind, Properties: map[string]any{
			"fsid": st.Fsid, "pool": st.Pool, "healthy": st.Healthy, "total_bytes": st.TotalBytes, "free_bytes": st.FreeBytes,
		}})
	}
	return out
}

// locations answers with the site's copies of an image.
func locations(reads *imageapi.Reads, w http.ResponseWriter, r *http.Request) error {
	if err := imageapi.NoBody(r); err != nil {
		return err
	}
	img, _, err := reads.Find(r, "fetch_image_location")
	if err != nil {
		return err
	}
	type location struct {
		URL      string            `json:"url"`
		Metadata map[string]string `json:"metadata"`
	}
	out := []location{}
	for _, l := range img.Locations {
		out = append(out, location{l.URL, map[string]string{"store": l.Store}})
	}
	return imageapi.WriteJSON(w, http.StatusOK, out)
}

// Run serves on l, which it closes, until ctx ends and the requests have, or were cut off.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	server := imageapi.NewHTTPServer(s, s.Log)
	defer s.hub.close()
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.farewell)
	defer cancel()
	if err := server.Shutdown(last); err != nil {
		_ = server.Close() // those who did not end in time are cut off
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
