package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-dcn/atoll/agent/internal/edge"
	"github.com/atoll-dcn/atoll/agent/internal/link"
	"github.com/atoll-dcn/atoll/agent/internal/replica"
	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/lifecycle"
	"github.com/atoll-dcn/atoll/pkg/policy"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// desired hands what the hub wants to the Manager and to the site's catalogue.
type desired struct {
	*replica.Manager
	catalogue *edge.Catalogue
}

// Apply takes over a message of desired state.
func (d desired) Apply(m *agentv1.Desired) {
	d.Manager.Apply(m)
	d.catalogue.Apply(m)
}

// Offline tells that the session has ended.
func (d desired) Offline() {
	d.Manager.Offline()
	d.catalogue.Offline()
}

// imageAPI is the site's Image API before it runs; nil when the site serves none.
type imageAPI struct {
	config    *ImageAPIConfig
	catalogue *edge.Catalogue
	awaited   *edge.Awaited
	dir       string
}

// openImageAPI reads the site's catalogue. It returns nil when the site serves no Image API.
func openImageAPI(c *Config, manager *replica.Manager, log hclog.Logger) *imageAPI {
	if c.ImageAPI.Address == "" {
		return nil
	}
	a := &imageAPI{
		config: &c.ImageAPI, dir: c.StateDir, catalogue: edge.NewCatalogue(image.SiteID(c.Site), manager, log.Named("image")),
		awaited: edge.NewAwaited(time.Now),
	}
	a.catalogue.Load(a.dir)
	return a
}

// replicas returns what the session with the hub is about.
func (a *imageAPI) replicas(manager *replica.Manager) link.Replicas {
	if a == nil {
		return manager
	}
	return desired{manager, a.catalogue}
}

// waiting returns which copies clients wait for.
func (a *imageAPI) waiting() link.Awaited {
	if a == nil {
		return nil
	}
	return a.awaited
}

// tasks opens the listener and returns what has to run. It reads all files of the configuration.
func (a *imageAPI) tasks(
	ctx context.Context, site image.SiteID, ps pools, manager *replica.Manager, session *link.Link, registry prometheus.Registerer, log hclog.Logger,
) ([]lifecycle.Task, error) {
	if a == nil {
		return nil, nil
	}
	c, log := a.config, log.Named("image")
	verifier, err := openVerifier(c, site, log)
	if err != nil {
		return nil, err
	}
	rules, err := policy.New(policy.Options{
		File: c.PolicyFile, Dir: c.PolicyDir, ProtectionFile: c.ProtectionFile, ProtectionFormat: c.ProtectionFormat,
		Log: log.Named("policy"), Now: time.Now,
	})
	if err != nil {
		return nil, badFile("image_api.policy_file or property_protection_file", err)
	}
	hubURL, err := url.Parse(c.HubImageURL)
	if err != nil {
		return nil, fault.BadField("image_api.hub_image_url", "is not a URL")
	}
	hubTLS, err := trusting(c.HubCAFile)
	if err != nil {
		return nil, err
	}
	l, err := c.listen(ctx)
	if err != nil {
		return nil, err
	}
	server := edge.New(edge.Config{
		Site: site, Catalogue: a.catalogue, Awaited: a.awaited, Copies: manager, Pools: ps.byID(), Linked: session.Healthy, Hub: hubURL, HubTLS: hubTLS,
		Verifier: verifier, AuthURI: c.Keystone.URL, Policy: rules, PublicEndpoint: c.PublicEndpoint,
		Log: log, Registry: registry, Now: time.Now,
	})
	log.Info("serving the Image API of the site", "address", l.Addr().String())
	return []lifecycle.Task{
		{Name: "image", Run: func(ctx context.Context) error { return server.Run(ctx, l) }},
		{Name: "catalogue", Run: func(ctx context.Context) error { return a.catalogue.Keep(ctx, a.dir) }},
	}, nil
}

// openVerifier returns what finds out who users are.
func openVerifier(c *ImageAPIConfig, site image.SiteID, log hclog.Logger) (auth.Verifier, error) {
	switch c.Auth {
	case authTokens:
		v, err := auth.OpenTokens(c.TokensFile, time.Now, log.Named("tokens"))
		if err != nil {
			return nil, badFile("image_api.tokens_file", err)
		}
		return v, nil
	case authKeystone:
		return openKeystone(c.Keystone, log)
	default:
		log.Warn("NO AUTHENTICATION: everybody on this machine is an administrator; use auth for anything but a test")
		return auth.None(site), nil
	}
}

// badFile says that a file of the configuration cannot be used. What reads it says why, after the file's name.
func badFile(field string, err error) error {
	why := err
	if inner := errors.Unwrap(err); inner != nil {
		why = plain(inner)
	}
	return fault.Wrap(err, fault.Invalid, "INVALID_FIELD", "%s: %v", field, why)
}

// trusting returns the configuration of a client that trusts the certificates in a file; nil without one.
func trusting(file string) (*tls.Config, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "INVALID_FIELD", "image_api.hub_ca_file: cannot be read: %v", plain(err))
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fault.BadField("image_api.hub_ca_file", "holds no certificate in PEM")
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

// listen opens the address, with TLS if there is a certificate.
func (c *ImageAPIConfig) listen(ctx context.Context) (net.Listener, error) {
	var config *tls.Config
	if c.TLSCert != "" {
		cert, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
		if err != nil {
			return nil, fault.Wrap(err, fault.Invalid, "INVALID_FIELD", "image_api.tls_cert: the certificate and its key cannot be used")
		}
		config = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Address)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "INVALID_FIELD", "image_api.address: cannot listen on %q", c.Address)
	}
	if config != nil {
		l = tls.NewListener(l, config)
	}
	return l, nil
}
