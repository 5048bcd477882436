package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
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

// ImageAPIConfig says whether and how the site serves the Image API.
type ImageAPIConfig struct {
	Address          string         `json:"address"`
	HubImageURL      string         `json:"hub_image_url"`
	HubCAFile        string         `json:"hub_ca_file"`
	PublicEndpoint   string         `json:"public_endpoint"`
	Auth             string         `json:"auth"`
	TokensFile       string         `json:"tokens_file"`
	Keystone         KeystoneConfig `json:"keystone"`
	PolicyFile       string         `json:"policy_file"`
	PolicyDir        string         `json:"policy_dir"`
	ProtectionFile   string         `json:"property_protection_file"`
	ProtectionFormat string         `json:"property_protection_format"`
	TLSCert          string         `json:"tls_cert"`
	TLSKey           string         `json:"tls_key"`
}

// KeystoneConfig says how tokens are checked with Keystone.
type KeystoneConfig struct {
	URL           string `json:"url"`
	User          string `json:"user"`
	PasswordFile  string `json:"password_file"`
	UserDomain    string `json:"user_domain"`
	Project       string `json:"project"`
	ProjectDomain string `json:"project_domain"`
	Region        string `json:"region"`
	CAFile        string `json:"ca_file"`
}

// The ways to find out who users are.
const (
	authNone     = "none"
	authTokens   = "tokens"
	authKeystone = "keystone"
)

// check fills in defaults and returns the first thing that is wrong.
func (c *ImageAPIConfig) check() error {
	if c.Address == "" {
		if *c != (ImageAPIConfig{}) {
			return fault.BadField("image_api.address", "is required with the other fields of image_api, such as :9292")
		}
		return nil
	}
	if err := checkAddress("image_api.address", c.Address, ":9292"); err != nil {
		return err
	}
	if err := checkURL("image_api.hub_image_url", c.HubImageURL, "https://hub.example.net:9292"); err != nil {
		return err
	}
	if c.PublicEndpoint != "" {
		if err := checkURL("image_api.public_endpoint", c.PublicEndpoint, "https://images.dcn0.example.net"); err != nil {
			return err
		}
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return fault.BadField("image_api.tls_cert", "and tls_key belong together")
	}
	return c.checkAuth()
}

func (c *ImageAPIConfig) checkAuth() error {
	switch c.Auth {
	case authNone:
		if !loopback(c.Address) {
			return fault.BadField("image_api.address", "%q is not a loopback address such as 127.0.0.1:9292; others need auth", c.Address)
		}
	case authTokens:
		if c.TokensFile == "" {
			return fault.BadField("image_api.tokens_file", "is required with auth tokens")
		}
	case authKeystone:
		return c.Keystone.check()
	default:
		return fault.BadField("image_api.auth", "%q is not one of none, tokens, keystone", c.Auth)
	}
	return nil
}

func (c *KeystoneConfig) check() error {
	if err := checkURL("image_api.keystone.url", c.URL, "https://keystone.example.net:5000/v3"); err != nil {
		return err
	}
	if c.PasswordFile == "" {
		return fault.BadField("image_api.keystone.password_file", "is required with auth keystone")
	}
	for _, d := range []struct {
		value   *string
		missing string
	}{{&c.User, "atoll"}, {&c.UserDomain, "Default"}, {&c.Project, "service"}, {&c.ProjectDomain, "Default"}} {
		if *d.value == "" {
			*d.value = d.missing
		}
	}
	return nil
}

// checkURL returns an error unless s is an http or https URL without a query; example shows one.
func checkURL(field, s, example string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return fault.BadField(field, "is not a URL such as %s", example)
	}
	return nil
}

func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

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
	dir       string
}

// openImageAPI reads the site's catalogue. It returns nil when the site serves no Image API.
func openImageAPI(c *Config, manager *replica.Manager, log hclog.Logger) *imageAPI {
	if c.ImageAPI.Address == "" {
		return nil
	}
	a := &imageAPI{
		config: &c.ImageAPI, dir: c.StateDir, catalogue: edge.NewCatalogue(image.SiteID(c.Site), manager, log.Named("image")),
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
		return nil, err
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
		Site: site, Catalogue: a.catalogue, Copies: manager, Pools: ps.byID(), Linked: session.Healthy, Hub: hubURL, HubTLS: hubTLS,
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
		return auth.OpenTokens(c.TokensFile, time.Now, log.Named("tokens"))
	case authKeystone:
		return openKeystone(c.Keystone, log)
	default:
		log.Warn("NO AUTHENTICATION: everybody on this machine is an administrator; use auth for anything but a test")
		return auth.None(site), nil
	}
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
