package trust

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/hub/internal/importer/outside"
	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

// barbican is a key manager with one secret, which the owner of one token may read.
type barbican struct {
	*httptest.Server
	payload []byte
	kind    string // of the secret
	form    string // of the payload
	status  int    // of every answer when it is not 0
	asked   []string
	noEntry bool // the service catalog does not name it
	suffix  string
}

func newBarbican(t *testing.T, payload []byte) *barbican {
	t.Helper()
	b := &barbican{payload: payload, kind: "certificate", form: "application/octet-stream"}
	b.Server = httptest.NewServer(b)
	t.Cleanup(b.Close)
	return b
}

func (b *barbican) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.asked = append(b.asked, r.Header.Get("X-Auth-Token")+" "+r.URL.Path+" "+r.Header.Get("Accept"))
	name, payload := strings.CutSuffix(r.URL.Path, "/payload")
	switch {
	case b.status != 0:
		w.Header().Set("Location", "http://127.0.0.1:1/")
		w.WriteHeader(b.status)
	case name != "/v1/secrets/"+signerID:
		w.WriteHeader(http.StatusNotFound)
	case r.Header.Get("X-Auth-Token") != "alice":
		w.WriteHeader(http.StatusForbidden)
	case payload && r.Header.Get("Accept") != b.form:
		w.WriteHeader(http.StatusNotAcceptable)
	case payload:
		w.Header().Set("Content-Type", b.form)
		_, _ = w.Write(b.payload)
	default:
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"secret_type": %q, "status": "ACTIVE", "content_types": {"default": %q}}`, b.kind, b.form)
	}
}

// Endpoint is Endpoints.
func (b *barbican) Endpoint(_ context.Context, token, service, iface, region string) (string, error) {
	if service != "key-manager" || iface != "public" || region != "" {
		return "", errors.New("asked for something else")
	}
	if token == "" {
		return "", fault.New(fault.Unauthenticated, "TOKEN_INVALID", "the token is not valid")
	}
	if b.noEntry {
		return "", fault.New(fault.NotFound, "NO_ENDPOINT", "none")
	}
	return b.URL + b.suffix, nil
}

// manager returns what asks it.
func (b *barbican) manager(t *testing.T, change ...func(*outside.Options)) *Barbican {
	t.Helper()
	o := outside.Options{AllowNetworks: []string{"127.0.0.1"}, Connect: time.Minute}
	for _, f := range change {
		f(&o)
	}
	c, err := outside.New(o.ForRegions())
	if err != nil {
		t.Fatal(err)
	}
	return &Barbican{Endpoints: b, Interface: "public", Client: c}
}

// as returns the context of a request of a user.
func as(t *testing.T, token string) context.Context {
	t.Helper()
	return auth.WithToken(auth.With(t.Context(), &auth.Caller{UserID: token}), token)
}

func TestBarbican(t *testing.T) {
	by := issue(t, nil, signer(), generate())
	for name, tt := range map[string]struct {
		change  func(*barbican)
		token   string
		want    string
		outside func(*outside.Options)
	}{
		"PEM":                       {},
		"DER":                       {change: func(b *barbican) { b.payload = by.Raw }},
		"endpoint with its version": {change: func(b *barbican) { b.suffix = "/v1" }},
		"as a text":                 {change: func(b *barbican) { b.form = "text/plain" }},
		"opaque":                    {change: func(b *barbican) { b.kind = "opaque" }},
		"somebody else's":           {token: "bob", want: ReasonNotFound},
		"no such secret":            {change: func(b *barbican) { b.status = 404 }, want: ReasonNotFound},
		"no token":                  {token: "-", want: "TOKEN_INVALID"},
		"no key manager":            {change: func(b *barbican) { b.noEntry = true }, want: ReasonNotFound},
		"private key":               {change: func(b *barbican) { b.kind = "private" }, want: ReasonUntrusted},
		"not a certificate":         {change: func(b *barbican) { b.payload = []byte("hello") }, want: ReasonUntrusted},
		"too long":                  {change: func(b *barbican) { b.payload = make([]byte, 1<<20) }, want: ReasonUntrusted},
		"strange request":           {change: func(b *barbican) { b.status = 400 }, want: ReasonNotFound},
		"redirect":                  {change: func(b *barbican) { b.status = 302 }, want: ReasonNotFound},
		"down": {
			change: func(b *barbican) { b.status = 503 }, outside: func(o *outside.Options) { o.Connect = time.Second }, want: ReasonKeys,
		},
		"web page": {change: func(b *barbican) { b.form = "text/html" }, want: ReasonNotFound},
		"network that is denied": {
			outside: func(o *outside.Options) {
				o.AllowNetworks, o.DenyNetworks, o.Connect = nil, []string{"127.0.0.0/8"}, time.Second
			},
			want: ReasonKeys,
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBarbican(t, toPEM(by))
			if tt.change != nil {
				tt.change(b)
			}
			token := map[string]string{"": "alice", "-": ""}[tt.token] + map[string]string{"bob": "bob"}[tt.token]
			o := tt.outside
			if o == nil {
				o = func(*outside.Options) {}
			}
			s := world(nil, b.manager(t, o), func(c *Config) { c.Unchained = true })
			ctx := as(t, token)
			check, err := s.Prepare(ctx, auth.From(ctx), signed(t, by.key, signerID, []byte("data")))
			if tt.want != "" {
				reason(t, err, tt.want)
				if strings.Contains(fault.Public(err), "127.0.0.1") {
					t.Errorf("users are told of an address: %s", fault.Public(err))
				}
				return
			}
			if err != nil {
				t.Fatal(err, b.asked)
			}
			if facts := prove(t, check, by, []byte("data")); facts.Trusted {
				t.Error("nobody vouches for it")
			}
		})
	}
}

// TestOSSN0063CertificatesOfOthers is row 34: a key manager's client that kept what it was given handed out the secrets of
// one user to the next one.
func TestOSSN0063CertificatesOfOthers(t *testing.T) {
	by := issue(t, nil, signer(), generate())
	b := newBarbican(t, toPEM(by))
	s := world(nil, b.manager(t), func(c *Config) { c.Unchained = true })
	p := signed(t, by.key, signerID, []byte("data"))
	for range 2 {
		alice, bob := as(t, "alice"), as(t, "bob")
		if _, err := s.Prepare(alice, auth.From(alice), p); err != nil {
			t.Fatal(err)
		}
		_, err := s.Prepare(bob, auth.From(bob), p)
		reason(t, err, ReasonNotFound)
	}
	want := []string{
		"alice /v1/secrets/" + signerID + " application/json", "alice /v1/secrets/" + signerID + "/payload application/octet-stream",
		"bob /v1/secrets/" + signerID + " application/json",
	}
	if got := strings.Join(b.asked, "\n"); got != strings.Join(append(want, want...), "\n") {
		t.Errorf("asked\n%s", got)
	}
}

// TestChainsOfTheKeyManager judges a certificate of the key manager with and without roots.
func TestChainsOfTheKeyManager(t *testing.T) {
	root := issue(t, nil, authority("root"), generate())
	by, alone := issue(t, root, signer(), generate()), issue(t, nil, signer(), generate())
	ended, gone := issue(t, root, signer(expired), generate()), issue(t, root, signer(), generate())
	for name, tt := range map[string]struct {
		by        *entity
		roots     bool
		unchained bool
		want      string
		trusted   bool
	}{
		"no roots":                         {by: by, want: ReasonUntrusted},
		"no roots, none wanted":            {by: by, unchained: true},
		"leads to a root":                  {by: by, roots: true, trusted: true},
		"leads to a root, none wanted":     {by: by, roots: true, unchained: true, trusted: true},
		"self-signed":                      {by: alone, roots: true, want: ReasonUntrusted},
		"self-signed, no root wanted":      {by: alone, roots: true, unchained: true},
		"expired, no root wanted":          {by: ended, roots: true, unchained: true, want: ReasonExpired},
		"withdrawn, no root wanted":        {by: gone, roots: true, unchained: true, want: ReasonRevoked},
		"expired, nobody vouches for them": {by: ended, unchained: true, want: ReasonExpired},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFolder(t)
			if tt.roots {
				f.put("ca/root.pem", toPEM(root))
				f.put("crl.pem", revoke(t, root, gone))
			}
			b := newBarbican(t, toPEM(tt.by))
			s := world(f.open(), b.manager(t), func(c *Config) { c.Unchained = tt.unchained })
			ctx := as(t, "alice")
			check, err := s.Prepare(ctx, auth.From(ctx), signed(t, tt.by.key, signerID, []byte("data")))
			if tt.want != "" {
				reason(t, err, tt.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if facts := prove(t, check, tt.by, []byte("data")); facts.Trusted != tt.trusted {
				t.Errorf("trusted: %v", facts.Trusted)
			}
		})
	}
}

// TestAfterRestart prepares a check again without anybody's token.
func TestAfterRestart(t *testing.T) {
	by := issue(t, nil, signer(), generate())
	b := newBarbican(t, toPEM(by))
	f := newFolder(t)
	s := world(f.open(), b.manager(t), func(c *Config) { c.Unchained = true })
	p := signed(t, by.key, signerID, []byte("data"))
	_, err := s.Prepare(t.Context(), nil, p)
	reason(t, err, ReasonNotKept)
	if len(b.asked) > 0 {
		t.Errorf("the key manager was asked: %q", b.asked)
	}
	f.put(signerID+".pem", toPEM(by))
	check, err := s.Prepare(t.Context(), nil, p)
	if err != nil {
		t.Fatal(err)
	}
	prove(t, check, by, []byte("data"))
	ctx := as(t, "alice") // what the operator has comes first
	if _, err := s.Prepare(ctx, auth.From(ctx), p); err != nil || len(b.asked) > 0 {
		t.Errorf("%v, asked %q", err, b.asked)
	}
}
