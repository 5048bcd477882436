package ctl

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/pkg/client/clienttest"
)

// keystoneServer issues the token "good" to whoever asks with the right password.
func keystoneServer(t *testing.T) *httptest.Server {
	t.Helper()
	var s *httptest.Server
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v3/auth/tokens" {
			w.WriteHeader(http.StatusMultipleChoices)
			_, _ = fmt.Fprintf(w, `{"versions":{"values":[{"id":"v3.14","status":"stable","links":[{"rel":"self","href":"%s/v3/"}]}]}}`, s.URL)
			return
		}
		w.Header().Set("X-Subject-Token", "good")
		w.WriteHeader(http.StatusCreated)
		_, _ = fmt.Fprintf(w, `{"token":{"expires_at":%q,"catalog":[]}}`, clienttest.Now().Add(time.Hour).Format(time.RFC3339))
	}))
	t.Cleanup(s.Close)
	return s
}

func TestWhoCalls(t *testing.T) {
	h := furnish(t)
	h.Token = "good"
	k := keystoneServer(t)
	clouds := filepath.Join(t.TempDir(), "clouds.yaml")
	text := "clouds:\n  lab:\n    auth: {auth_url: '" + k.URL + "', username: alice, password: pw, project_name: demo}\n"
	if err := os.WriteFile(clouds, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	openrc := map[string]string{"OS_AUTH_URL": k.URL, "OS_USERNAME": "alice", "OS_PASSWORD": "pw", "OS_PROJECT_NAME": "demo"}
	with := func(base map[string]string, k, v string) map[string]string {
		out := maps.Clone(base)
		out[k] = v
		return out
	}
	for _, tt := range []struct {
		name string
		env  map[string]string
		args []string
		code int
		says string
	}{
		{"nobody", nil, nil, exitFailed, "set ATOLL_TOKEN"},
		{"wrong token", map[string]string{"ATOLL_TOKEN": "bad"}, nil, exitFailed, "the token is not valid [TOKEN_INVALID]"},
		{"token", map[string]string{"ATOLL_TOKEN": "good"}, nil, exitOK, ""},
		{"token as a flag", map[string]string{"ATOLL_TOKEN": "bad"}, []string{"--token", "good"}, exitOK, ""},
		{"openrc", openrc, nil, exitOK, ""},
		{"a token before openrc", with(openrc, "ATOLL_TOKEN", "bad"), nil, exitFailed, "TOKEN_INVALID"},
		{"cloud", map[string]string{"OS_CLIENT_CONFIG_FILE": clouds, "OS_CLOUD": "lab"}, nil, exitOK, ""},
		{"cloud as a flag", map[string]string{"OS_CLIENT_CONFIG_FILE": clouds, "ATOLL_TOKEN": "bad"}, []string{"--os-cloud", "lab"}, exitOK, ""},
		{"unknown cloud", map[string]string{"OS_CLIENT_CONFIG_FILE": clouds}, []string{"--os-cloud", "x"}, exitUsage, "[BAD_CLOUD]"},
		{"both", nil, []string{"--os-cloud", "x", "--token", "y"}, exitUsage, "--os-cloud"},
		{"no password", map[string]string{"OS_AUTH_URL": k.URL, "OS_USERNAME": "alice"}, nil, exitUsage, "a password"},
		{"no Keystone", with(openrc, "OS_AUTH_URL", "http://127.0.0.1:1"), nil, exitUnavailable, "[KEYSTONE_FAILED]"},
		{"in the clear", map[string]string{"ATOLL_TOKEN": "good"}, []string{"--hub", "192.0.2.1:1"}, exitUsage, "[TLS_REQUIRED]"},
		{"bad CA file", map[string]string{"ATOLL_CA_FILE": clouds}, nil, exitUsage, "ca-file"},
	} {
		r := &run{env: tt.env}
		if code := r.do(t.Context(), h.Addr, append([]string{"image", "show", debian}, tt.args...)...); code != tt.code {
			t.Errorf("%s: exit code %d, want %d: %s", tt.name, code, tt.code, &r.err)
		}
		has(t, r.err.String(), tt.says)
	}
}

func TestHubOverTLS(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler()) // for its certificate
	defer server.Close()
	h := clienttest.StartTLS(t, &tls.Config{Certificates: server.TLS.Certificates, MinVersion: tls.VersionTLS12})
	h.Change(func() { fill(h) })
	h.Token = "good"
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"ATOLL_TOKEN": "good"}
	r := &run{env: env}
	r.want(t, h, exitOK, "image", "show", debian, "--ca-file", ca)
	r = &run{env: map[string]string{"ATOLL_TOKEN": "good", "ATOLL_CA_FILE": ca}}
	r.want(t, h, exitOK, "image", "show", debian)
	r = &run{env: env}
	r.want(t, h, exitFailed, "image", "show", debian, "--tls")
	has(t, r.err.String(), "not trusted", "[CERT_UNTRUSTED]")
	r = &run{env: env}
	r.want(t, h, exitUnavailable, "image", "show", debian)
	r = &run{env: env}
	r.want(t, h, exitOK, "image", "delete", debian, "--ca-file", ca, "--wait=false")
	has(t, r.err.String(), "--ca-file "+ca+" operation wait")
}
