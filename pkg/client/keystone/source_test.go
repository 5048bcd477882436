package keystone

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service is an identity service that issues numbered tokens.
type service struct {
	*httptest.Server

	mu     sync.Mutex
	code   int    // answered instead of a token, 0 for none
	issued int    // tokens so far
	asked  string // the last request for a token
	life   time.Duration
	now    time.Time
}

func startService(t *testing.T) *service {
	t.Helper()
	s := &service{life: time.Hour, now: time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *service) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.URL.Path != "/v3/auth/tokens" {
		w.WriteHeader(http.StatusMultipleChoices)
		_, _ = fmt.Fprintf(w, `{"versions":{"values":[{"id":"v3.14","status":"stable","links":[{"rel":"self","href":"%s/v3/"}]}]}}`, s.URL)
		return
	}
	if s.code != 0 {
		w.WriteHeader(s.code)
		return
	}
	var body map[string]any
	if err := json.NewDecoder(r.Body).Decode(&body); err == nil {
		text, _ := json.Marshal(body)
		s.asked = string(text)
	}
	s.issued++
	w.Header().Set("X-Subject-Token", fmt.Sprintf("token-%d", s.issued))
	w.WriteHeader(http.StatusCreated)
	_, _ = fmt.Fprintf(w, `{"token":{"expires_at":%q,"catalog":[]}}`, s.now.Add(s.life).Format("2006-01-02T15:04:05.000000Z"))
}

func (s *service) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *service) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *service) cloud() Cloud {
	return Cloud{Auth: Auth{AuthURL: s.URL, Username: "alice", Password: "pw", ProjectName: "demo"}}
}

func open(t *testing.T, s *service, c Cloud) *Source {
	t.Helper()
	src, err := New(c, "test", s.clock)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func want(t *testing.T, src *Source, stale, token string) {
	t.Helper()
	if got, err := src.Token(t.Context(), stale); err != nil || got != token {
		t.Errorf("got %q, %v; want %q", got, err, token)
	}
}

func TestTokensAreKeptAndRenewed(t *testing.T) {
	s := startService(t)
	src := open(t, s, s.cloud())
	want(t, src, "", "token-1")
	want(t, src, "", "token-1")
	s.change(func() { s.now = s.now.Add(58 * time.Minute) })
	want(t, src, "", "token-1")
	s.change(func() { s.now = s.now.Add(90 * time.Second) })
	want(t, src, "", "token-2")
	want(t, src, "token-1", "token-2") // somebody else has renewed it already
	want(t, src, "token-2", "token-3") // revoked
}

func TestAnAbsentServiceIsBorneWhileTheTokenWorks(t *testing.T) {
	s := startService(t)
	src := open(t, s, s.cloud())
	want(t, src, "", "token-1")
	s.change(func() { s.code, s.now = http.StatusServiceUnavailable, s.now.Add(59*time.Minute+30*time.Second) })
	want(t, src, "", "token-1")
	if _, err := src.Token(t.Context(), "token-1"); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a refused token: %v", err)
	}
	s.change(func() { s.now = s.now.Add(time.Minute) })
	if _, err := src.Token(t.Context(), ""); !fault.Is(err, fault.Unavailable) {
		t.Errorf("an expired token: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	s := startService(t)
	for code, class := range map[int]fault.Class{401: fault.Unauthenticated, 403: fault.Unauthenticated, 500: fault.Unavailable, 503: fault.Unavailable} {
		s.change(func() { s.code = code })
		if _, err := open(t, s, s.cloud()).Token(t.Context(), ""); !fault.Is(err, class) {
			t.Errorf("%d: %v", code, err)
		}
	}
	s.Close()
	if _, err := open(t, s, s.cloud()).Token(t.Context(), ""); !fault.Is(err, fault.Unavailable) {
		t.Errorf("nobody there: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := open(t, s, s.cloud()).Token(ctx, ""); !fault.Is(err, fault.Cancelled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestCredentials compares what Keystone is asked with what was given.
func TestCredentials(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  string
		asks []string
		lack string // else: what the error says is missing
	}{
		{
			"openrc", "OS_USERNAME=alice OS_PASSWORD=pw OS_PROJECT_NAME=demo OS_USER_DOMAIN_NAME=Users OS_PROJECT_DOMAIN_ID=projects",
			[]string{`"name":"alice"`, `"domain":{"name":"Users"}`, `"project":{"domain":{"id":"projects"},"name":"demo"}`},
			"",
		},
		{"one domain", "OS_USERNAME=alice OS_PASSWORD=pw OS_PROJECT_NAME=demo", []string{`"domain":{"id":"default"},"name":"alice"`}, ""},
		{"ids", "OS_USER_ID=u OS_USERNAME=alice OS_PASSWORD=pw OS_PROJECT_ID=p", []string{`"user":{"id":"u"`, `"project":{"id":"p"}`}, ""},
		{"system", "OS_USERNAME=alice OS_PASSWORD=pw OS_SYSTEM_SCOPE=all", []string{`"system":{"all":true}`}, ""},
		{"trust", "OS_USERNAME=alice OS_PASSWORD=pw OS_TRUST_ID=t", []string{`"OS-TRUST:trust":{"id":"t"}`}, ""},
		{
			"application credential", "OS_APPLICATION_CREDENTIAL_ID=ac OS_APPLICATION_CREDENTIAL_SECRET=s OS_USERNAME=alice OS_PROJECT_NAME=demo",
			[]string{`"application_credential":{"id":"ac","secret":"s"}`},
			"",
		},
		{
			"named application credential", "OS_APPLICATION_CREDENTIAL_NAME=ac OS_APPLICATION_CREDENTIAL_SECRET=s OS_USERNAME=alice OS_USER_DOMAIN_ID=d",
			[]string{`"name":"ac"`, `"user":{"domain":{"id":"d"},"name":"alice"}`},
			"",
		},
		{"token for a project", "OS_TOKEN=old OS_PROJECT_ID=p", []string{`"token":{"id":"old"}`, `"project":{"id":"p"}`}, ""},
		{"no password", "OS_USERNAME=alice", nil, "a password"},
		{"no user", "OS_PASSWORD=pw", nil, "a user"},
		{"no secret", "OS_APPLICATION_CREDENTIAL_ID=ac", nil, "the secret"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := startService(t)
			c, ok := FromEnv(env("OS_AUTH_URL=" + s.URL + "/v3 " + tt.env))
			if !ok {
				t.Fatal("not taken for credentials")
			}
			src, err := New(c, "test", s.clock)
			if tt.lack != "" {
				if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tt.lack) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want(t, src, "", "token-1")
			for _, text := range tt.asks {
				if !strings.Contains(s.asked, text) {
					t.Errorf("%s is not in %s", text, s.asked)
				}
			}
		})
	}
	if _, ok := FromEnv(env("OS_USERNAME=alice OS_PASSWORD=pw")); ok {
		t.Error("taken for credentials without an identity service")
	}
}

// env is a getenv over "A=b C=d".
func env(text string) func(string) string {
	all := map[string]string{}
	for pair := range strings.FieldsSeq(text) {
		k, v, _ := strings.Cut(pair, "=")
		all[k] = v
	}
	return func(name string) string { return all[name] }
}

func TestClouds(t *testing.T) {
	s := startService(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	path := write("openstack/clouds.yaml", `clouds:
  lab:
    auth: {auth_url: "`+s.URL+`", username: alice, project_name: demo}
    region_name: here
    verify: false
  list:
    auth: {auth_url: x, username: alice, password: [1234]}
`)
	write("openstack/secure.yaml", "clouds:\n  lab:\n    auth: {password: pw}\n")
	for name, getenv := range map[string]func(string) string{
		"by variable": env("OS_CLIENT_CONFIG_FILE=" + path), "by XDG": env("XDG_CONFIG_HOME=" + dir),
	} {
		c, err := Load("lab", getenv)
		if err != nil || c.Auth.Password != "pw" || c.Auth.Username != "alice" || c.Verify == nil || *c.Verify {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	c, err := Load("lab", env("OS_CLIENT_CONFIG_FILE="+path))
	if err != nil {
		t.Fatal(err)
	}
	want(t, open(t, s, c), "", "token-1")
	for name, getenv := range map[string]func(string) string{
		"nothing": env("OS_CLIENT_CONFIG_FILE=" + path), "list": env("OS_CLIENT_CONFIG_FILE=" + path),
		"lab": env("OS_CLIENT_CONFIG_FILE=" + dir + "/none"), "bad": env("OS_CLIENT_CONFIG_FILE=" + write("bad.yaml", "clouds: [")),
	} {
		if _, err := Load(name, getenv); fault.ReasonOf(err) != "BAD_CLOUD" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCertificateFiles(t *testing.T) {
	s := startService(t)
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(*Cloud){
		func(c *Cloud) { c.CACert = empty }, func(c *Cloud) { c.CACert = empty + "x" }, func(c *Cloud) { c.Cert = empty },
	} {
		c := s.cloud()
		change(&c)
		if _, err := New(c, "test", s.clock); fault.ReasonOf(err) != "BAD_CREDENTIALS" {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
