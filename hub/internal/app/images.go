package app

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"

	"github.com/atoll-dcn/atoll/hub/internal/glance"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
)

// imageServer serves the Image API.
type imageServer struct {
	http *http.Server
	tls  *tls.Config // nil: no TLS
}

// imageAPI builds the Image API of the hub.
func (h *hub) imageAPI(c glance.Config) *imageServer {
	c.Regions, c.Outside, c.Regional = h.access.regions, h.access.fetch.users, h.access.fetch.regions
	routes := imageapi.NewRouter()
	glance.New(c).Routes(routes)
	handler := routes.Serve(imageapi.Options{
		Verifier: h.access.verifier, AuthURI: h.access.authURI, Log: c.Log, Registry: h.registry,
		PublicEndpoint: h.Image.PublicEndpoint, Sites: true, Limit: h.access.limit,
	})
	return &imageServer{http: imageapi.NewHTTPServer(handler, c.Log), tls: h.access.httpTLS}
}

// run serves until ctx ends. Requests in progress are cut: what they have begun is undone or goes on without them.
func (s *imageServer) run(ctx context.Context, l net.Listener) error {
	if s.tls != nil {
		l = tls.NewListener(l, s.tls)
	}
	return serve(ctx, s.http, l)
}
