package keystone

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/retry"
)

// session is our own login at Keystone. The library logs in again when a question is answered with 401.
type session struct {
	o    Options
	http *http.Client

	mu     sync.Mutex
	client *gophercloud.ProviderClient // nil before the first login
}

func (s *session) start(o Options, client *http.Client) { s.o, s.http = o, client }

// login returns a client with a token of ours. Others wait while one logs in for the first time.
func (s *session) login(ctx context.Context) (*gophercloud.ProviderClient, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		return s.client, nil
	}
	client, err := s.provider()
	if err != nil {
		return nil, err
	}
	if err := openstack.AuthenticateV3(ctx, client, s.credentials(), gophercloud.EndpointOpts{}); err != nil {
		return nil, err
	}
	s.client = client
	return client, nil
}

// provider returns a client without a token.
func (s *session) provider() (*gophercloud.ProviderClient, error) {
	client, err := openstack.NewClient(s.o.AuthURL)
	if err != nil {
		return nil, err
	}
	// The library takes "/v3" out of a URL's path wherever it is.
	client.IdentityBase = gophercloud.NormalizeURL(s.o.AuthURL)
	client.HTTPClient = *s.http
	return client, nil
}

func (s *session) credentials() *tokens.AuthOptions {
	if s.o.ApplicationCredentialID != "" {
		return &tokens.AuthOptions{
			ApplicationCredentialID:     s.o.ApplicationCredentialID,
			ApplicationCredentialSecret: s.o.ApplicationCredentialSecret,
			AllowReauth:                 true,
		}
	}
	return &tokens.AuthOptions{
		Username: s.o.Username, DomainName: s.o.UserDomain, Password: s.o.Password,
		Scope:       tokens.Scope{ProjectName: s.o.Project, DomainName: s.o.ProjectDomain},
		AllowReauth: true,
	}
}

// attempts is how often a question without an answer is asked.
var attempts = retry.Policy{Initial: 100 * time.Millisecond, Max: time.Second, Attempts: 2}

// notTokens are the answers to what is no token of Keystone's: that it knows none such, or that it, or what stands before
// it, cannot make anything of the question. They say nothing about Keystone's health.
var notTokens = []int{
	http.StatusNotFound, http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong,
	http.StatusRequestHeaderFieldsTooLarge,
}

func isNoToken(err error) bool {
	var login *gophercloud.ErrUnableToReauthenticate // is about our own token
	return !errors.As(err, &login) && slices.Contains(notTokens, codeOf(err))
}

// validate asks whom a token belongs to. Errors are Unauthenticated for a token that is not valid and Unavailable for all
// that is not about the token. It blocks until ctx ends, which must have a deadline.
func (s *session) validate(ctx context.Context, token string, expired bool) (*auth.Caller, error) {
	query := "v3/auth/tokens?nocatalog"
	if expired {
		query += "&allow_expired=1"
	}
	var caller *auth.Caller
	err := retry.Do(ctx, attempts, func(ctx context.Context) error {
		var body struct {
			Token tokenBody `json:"token"`
		}
		client, err := s.login(ctx)
		if err != nil {
			return errUnreachable(fmt.Errorf("log in: %w", err))
		}
		err = get(ctx, client, query, map[string]string{"X-Subject-Token": token}, &body)
		if isNoToken(err) {
			return errInvalid()
		}
		if err != nil {
			return errUnreachable(fmt.Errorf("validate a token: %w", err))
		}
		caller, err = body.Token.caller()
		return err
	}, nil)
	return caller, err
}

// get asks and decodes the answer.
func get(ctx context.Context, client *gophercloud.ProviderClient, path string, headers map[string]string, into any) error {
	res, err := client.Request(ctx, http.MethodGet, client.IdentityBase+path, &gophercloud.RequestOpts{
		MoreHeaders: headers, JSONResponse: into, OkCodes: []int{http.StatusOK},
	})
	if res != nil {
		_ = res.Body.Close() // the library has done so, but does not promise it
	}
	return err
}

func errUnreachable(cause error) error {
	if code := codeOf(cause); code != 0 {
		cause = answered(code)
	}
	return fault.Wrap(cause, fault.Unavailable, "IDENTITY_UNAVAILABLE", "the identity service does not answer; try again later")
}

// answered is the status of an answer that is of no use. The library's own error has the whole answer in it.
type answered int

func (a answered) Error() string { return fmt.Sprintf("keystone answered %d", int(a)) }

// wasAnswered reports whether Keystone is there, though its answer was of no use.
func wasAnswered(err error) bool {
	var a answered
	return errors.As(err, &a)
}

// codeOf returns the status that Keystone answered with, 0 for other errors.
func codeOf(err error) int {
	var code gophercloud.ErrUnexpectedResponseCode
	var again *gophercloud.ErrErrorAfterReauthentication
	var login *gophercloud.ErrUnableToReauthenticate
	switch {
	case errors.As(err, &code):
		return code.Actual
	case errors.As(err, &again):
		return codeOf(again.ErrOriginal)
	case errors.As(err, &login):
		return codeOf(login.ErrReauth)
	}
	return 0
}
