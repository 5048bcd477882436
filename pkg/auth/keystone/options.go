package keystone

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Options say where Keystone is and who we are there. Either Username and Password or the two ApplicationCredential
// fields are needed.
type Options struct {
	AuthURL       string // such as https://keystone.example.com:5000/v3; "/v3" may be left out
	Username      string
	Password      string
	UserDomain    string // name; empty: "Default"
	Project       string
	ProjectDomain string // name; empty: "Default"

	ApplicationCredentialID     string
	ApplicationCredentialSecret string

	// CAFile is a PEM file of authorities to trust instead of the system's; empty: the system's.
	CAFile string
	// Region is where Endpoint looks when it is not told; empty: anywhere.
	Region string

	// CacheTTL is how long an answer is taken for true, and so how long a revoked token may go on working; zero: 5 min.
	CacheTTL time.Duration
	// RefusedTTL is how long a refusal is taken for true; zero: 10 s.
	RefusedTTL time.Duration
	// CacheSize is how many tokens are remembered; zero: 10,000.
	CacheSize int
	// Timeout bounds one question to Keystone, with logging in again if need be; zero: 10 s.
	Timeout time.Duration
	// RefreshTimeout is the same for a token that is remembered: after it the old answer is used; zero: 2 s.
	RefreshTimeout time.Duration
	// DownTime is how long Keystone is left alone after it did not answer, doubled each time up to a minute; zero: 5 s.
	DownTime time.Duration
	// ServiceRoles are roles that make a token one of a service; nil: "service".
	ServiceRoles []string

	// Log is told when Keystone cannot be reached; nil: nobody is.
	Log hclog.Logger
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// complete fills in what was left out and refuses what cannot work.
func (o *Options) complete() error {
	u, err := url.Parse(o.AuthURL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return errors.New("keystone: the authentication URL is http(s)://HOST[:PORT][/PATH]")
	}
	o.AuthURL = strings.TrimSuffix(strings.TrimSuffix(o.AuthURL, "/"), "/v3")
	if o.ApplicationCredentialID == "" && (o.Username == "" || o.Project == "") {
		return errors.New("keystone: a user and its project are needed, or an application credential")
	}
	setDefault(&o.UserDomain, "Default")
	setDefault(&o.ProjectDomain, "Default")
	setDefault(&o.CacheTTL, 5*time.Minute)
	setDefault(&o.RefusedTTL, 10*time.Second)
	setDefault(&o.CacheSize, 10_000)
	setDefault(&o.Timeout, 10*time.Second)
	setDefault(&o.RefreshTimeout, 2*time.Second)
	setDefault(&o.DownTime, 5*time.Second)
	if o.ServiceRoles == nil {
		o.ServiceRoles = []string{"service"}
	}
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Bounds on connections to Keystone.
const (
	dialTimeout = 3 * time.Second
	maxConns    = 32      // a flood of unknown tokens waits here instead of at Keystone
	maxBody     = 4 << 20 // bytes of an answer, which may hold a large catalog
)

func newHTTPClient(o Options) (*http.Client, error) {
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("keystone: authorities: %w", err)
		}
		trust.RootCAs = x509.NewCertPool()
		if !trust.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("keystone: authorities: %s holds no certificate", o.CAFile)
		}
	}
	return &http.Client{
		Transport: bounded{&http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext,
			TLSClientConfig:        trust,
			TLSHandshakeTimeout:    dialTimeout,
			ResponseHeaderTimeout:  o.Timeout,
			MaxConnsPerHost:        maxConns,
			MaxIdleConnsPerHost:    8,
			IdleConnTimeout:        30 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			ForceAttemptHTTP2:      true,
		}},
		// A token is never sent where a redirect leads.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// bounded cuts answers off that are too long; the library reads them whole.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	res.Body = limitedBody{io.LimitReader(res.Body, maxBody), res.Body}
	return res, nil
}

type limitedBody struct {
	io.Reader
	io.Closer
}
