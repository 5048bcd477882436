package keystone

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"os"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

const (
	callTimeout = 30 * time.Second
	// margin is how long before its end a token is replaced, but never more than a quarter of its life.
	margin = time.Minute
)

// Source gets tokens and keeps the latest. It implements client.Tokens and is safe for concurrent use.
type Source struct {
	options gophercloud.AuthOptions
	scope   gophercloud.AuthScope
	http    http.Client
	agent   string
	now     func() time.Time

	busy    chan struct{} // holds a value while somebody looks at what follows
	token   string
	renewAt time.Time
	expires time.Time
}

// New returns a source of tokens for a cloud. It asks nobody before the first token is wanted. agent names the program. Errors:
// Invalid for credentials that cannot be complete and for certificate files that cannot be read.
func New(c Cloud, agent string, now func() time.Time) (*Source, error) {
	options, scope, err := c.options()
	if err != nil {
		return nil, err
	}
	conf, err := c.tls()
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: conf, ForceAttemptHTTP2: true,
		DisableKeepAlives: true, // tokens are fetched hours apart
	}
	return &Source{
		options: options, scope: scope, http: http.Client{Transport: transport, Timeout: callTimeout},
		agent: agent, now: now, busy: make(chan struct{}, 1),
	}, nil
}

// Token returns the latest token, or a new one when that is about to end or is stale, which the hub has refused. It blocks
// while Keystone is asked. Errors: Unauthenticated when Keystone refuses the credentials, else Unavailable.
func (s *Source) Token(ctx context.Context, stale string) (string, error) {
	select {
	case s.busy <- struct{}{}:
		defer func() { <-s.busy }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if s.token != "" && s.token != stale && s.now().Before(s.renewAt) {
		return s.token, nil
	}
	err := s.fetch(ctx)
	if err != nil && s.token != "" && s.token != stale && s.now().Before(s.expires) {
		return s.token, nil // Keystone is away; this one still works
	}
	return s.token, err
}

// fetch replaces the token. The caller has set busy.
func (s *Source) fetch(ctx context.Context) error {
	provider, err := openstack.NewClient(s.options.IdentityEndpoint)
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "BAD_CREDENTIALS", "%q is not the address of an identity service", s.options.IdentityEndpoint)
	}
	provider.HTTPClient = s.http
	provider.UserAgent.Prepend(s.agent)
	options, scope := s.options, s.scope // gophercloud writes into them
	if scope != (gophercloud.AuthScope{}) {
		options.Scope = &scope
	}
	if err := openstack.Authenticate(ctx, provider, options); err != nil {
		return refused(err, s.options.IdentityEndpoint)
	}
	result, ok := provider.GetAuthResult().(interface{ ExtractToken() (*tokens.Token, error) })
	if !ok {
		return fault.New(fault.Unavailable, "KEYSTONE_FAILED", "the identity service does not speak version 3 of its API")
	}
	t, err := result.ExtractToken()
	if err != nil {
		return refused(err, s.options.IdentityEndpoint)
	}
	now := s.now()
	s.token, s.expires = t.ID, t.ExpiresAt
	s.renewAt = t.ExpiresAt.Add(-min(margin, t.ExpiresAt.Sub(now)/4))
	return nil
}

// refused turns an error of gophercloud into one that says what to do.
func refused(err error, url string) error {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case gophercloud.ResponseCodeIs(err, http.StatusUnauthorized), gophercloud.ResponseCodeIs(err, http.StatusForbidden),
		gophercloud.ResponseCodeIs(err, http.StatusNotFound), gophercloud.ResponseCodeIs(err, http.StatusBadRequest):
		return fault.Wrap(err, fault.Unauthenticated, "CREDENTIALS_REFUSED", "the identity service at %s refuses the credentials", url)
	default:
		return fault.Wrap(err, fault.Unavailable, "KEYSTONE_FAILED", "the identity service at %s gives no token: %v", url, err)
	}
}

// options turns a cloud into what gophercloud wants. gophercloud has one domain for the user and the project; the scope
// keeps them apart.
func (c Cloud) options() (gophercloud.AuthOptions, gophercloud.AuthScope, error) {
	a := c.Auth
	o := gophercloud.AuthOptions{
		IdentityEndpoint: a.AuthURL, UserID: a.UserID, Username: a.Username, Password: a.Password, Passcode: a.Passcode, TokenID: a.Token,
		ApplicationCredentialID: a.CredentialID, ApplicationCredentialName: a.CredentialName, ApplicationCredentialSecret: a.CredentialSecret,
	}
	scope := a.scope()
	bad := func(what string) (gophercloud.AuthOptions, gophercloud.AuthScope, error) {
		return o, scope, fault.New(fault.Invalid, "BAD_CREDENTIALS", "the OpenStack credentials lack %s", what)
	}
	if a.UserID != "" {
		o.Username = "" // either, not both
	} else if a.Username != "" {
		o.DomainID, o.DomainName = domain(a.UserDomainID, a.UserDomainName, a)
	}
	switch {
	case a.AuthURL == "":
		return bad("an auth_url (OS_AUTH_URL)")
	case a.CredentialID != "" || a.CredentialName != "":
		if a.CredentialSecret == "" {
			return bad("the secret of the application credential")
		}
		if a.CredentialID == "" && a.UserID == "" && a.Username == "" {
			return bad("the user of the application credential; use its id")
		}
		if a.CredentialID != "" {
			o.UserID, o.Username, o.DomainID, o.DomainName = "", "", "", ""
		}
		o.Password, o.Passcode, o.TokenID = "", "", ""
		return o, gophercloud.AuthScope{}, nil // the credential has its project
	case a.Token != "" && a.Password == "":
		o.UserID, o.Username, o.DomainID, o.DomainName = "", "", "", ""
		return o, scope, nil
	case a.UserID == "" && a.Username == "":
		return bad("a user (OS_USERNAME)")
	case a.Password == "" && a.Passcode == "":
		return bad("a password (OS_PASSWORD)")
	}
	o.TokenID = ""
	return o, scope, nil
}

// scope returns what the token is to be for; the zero value for what Keystone chooses.
func (a Auth) scope() gophercloud.AuthScope {
	switch {
	case a.TrustID != "":
		return gophercloud.AuthScope{TrustID: a.TrustID}
	case a.SystemScope != "":
		return gophercloud.AuthScope{System: true}
	case a.ProjectID != "":
		return gophercloud.AuthScope{ProjectID: a.ProjectID}
	case a.ProjectName != "":
		id, name := domain(a.ProjectDomainID, a.ProjectDomainName, a)
		return gophercloud.AuthScope{ProjectName: a.ProjectName, DomainID: id, DomainName: name}
	case a.DomainID != "":
		return gophercloud.AuthScope{DomainID: a.DomainID}
	default:
		return gophercloud.AuthScope{DomainName: a.DomainName}
	}
}

// domain returns the id or else the name of the domain of a user or project, "default" when nothing is said.
func domain(id, name string, a Auth) (string, string) {
	switch {
	case id != "":
		return id, ""
	case name != "":
		return "", name
	case a.DomainID != "" || a.DomainName == "":
		return cmp.Or(a.DomainID, a.DefaultDomain, "default"), ""
	default:
		return "", a.DomainName
	}
}

// tls returns how to trust the identity service.
func (c Cloud) tls() (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.Verify != nil && !*c.Verify {
		conf.InsecureSkipVerify = true //nolint:gosec // asked for by the user, in OpenStack's own words
	}
	if c.CACert != "" {
		pem, err := os.ReadFile(c.CACert)
		if err != nil {
			return nil, fault.Wrap(err, fault.Invalid, "BAD_CREDENTIALS", "the cacert %s of the cloud cannot be read", c.CACert)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fault.New(fault.Invalid, "BAD_CREDENTIALS", "the cacert %s of the cloud holds no certificate", c.CACert)
		}
	}
	if c.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.Cert, cmp.Or(c.Key, c.Cert))
		if err != nil {
			return nil, fault.Wrap(err, fault.Invalid, "BAD_CREDENTIALS", "the cert %s of the cloud and its key do not fit", c.Cert)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return conf, nil
}
