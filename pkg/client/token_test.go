package client_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/pkg/client"
	"github.com/atoll-dcn/atoll/pkg/client/clienttest"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/retry"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// purse yields one token after the other.
type purse struct {
	mu     sync.Mutex
	tokens []string
}

func (p *purse) Token(_ context.Context, stale string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.tokens) == 0 {
		return "", fault.New(fault.Unavailable, "KEYSTONE_FAILED", "no token")
	}
	if p.tokens[0] == stale && len(p.tokens) > 1 {
		p.tokens = p.tokens[1:]
	}
	return p.tokens[0], nil
}

func TestTokens(t *testing.T) {
	refused := fault.New(fault.Unauthenticated, "TOKEN_EXPIRED", "the token has expired")
	for _, tt := range []struct {
		name   string
		tokens client.Tokens
		class  fault.Class
		calls  int
	}{
		{"right", client.StaticToken("good"), 0, 1},
		{"wrong", client.StaticToken("bad"), fault.Unauthenticated, 1},
		{"none", nil, fault.Unauthenticated, 1},
		{"renewed", &purse{tokens: []string{"old", "good"}}, 0, 2},
		{"renewed in vain", &purse{tokens: []string{"old", "older", "good"}}, fault.Unauthenticated, 2},
		{"unknown", &purse{}, fault.Unavailable, 0},
	} {
		h, c := start(t, client.Options{Tokens: tt.tokens})
		h.Token = "good"
		_, err := c.Images.GetImage(t.Context(), &hubv1.GetImageRequest{Id: id})
		if tt.class == 0 && err != nil || tt.class != 0 && !fault.Is(err, tt.class) || h.Called["GetImage"] != tt.calls {
			t.Errorf("%s: %v after %d calls", tt.name, err, h.Called["GetImage"])
		}
	}

	h, c := start(t, client.Options{Tokens: &purse{tokens: []string{"one", "two", "three", "four"}}})
	h.Token = "one"
	op := begin(t, h, c, clienttest.Step{Do: clienttest.Succeed})
	h.Change(func() { h.Token = "two" })
	if end, err := c.FollowOperation(t.Context(), op, client.Follower{}); err != nil || !client.Done(end) {
		t.Errorf("following with a renewed token: %v", err)
	}
	h.Fail("WatchOperation", refused)
	h.Fail("WatchOperation", refused)
	h.Change(func() { h.Token = "three" })
	if _, err := c.FollowOperation(t.Context(), op, client.Follower{}); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("following although nothing helps: %v", err)
	}
}

func TestTLS(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler()) // for its certificate
	defer server.Close()
	h := clienttest.StartTLS(t, &tls.Config{Certificates: server.TLS.Certificates, MinVersion: tls.VersionTLS12})
	h.Images[id] = &hubv1.Image{Id: id}
	trust := x509.NewCertPool()
	trust.AddCert(server.Certificate())
	for name, tt := range map[string]struct {
		conf  *tls.Config
		class fault.Class
	}{
		"trusted":   {&tls.Config{RootCAs: trust, MinVersion: tls.VersionTLS12}, 0},
		"untrusted": {&tls.Config{MinVersion: tls.VersionTLS12}, fault.Denied},
		"plaintext": {nil, fault.Unavailable},
	} {
		c, err := client.New(h.Addr, client.Options{TLS: tt.conf, CallTimeout: time.Minute, Retry: retry.Policy{Initial: time.Millisecond}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = c.FindImage(t.Context(), id); tt.class == 0 && err != nil || tt.class != 0 && !fault.Is(err, tt.class) {
			t.Errorf("%s: %v", name, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestTokensAreNotShownToTheNetwork(t *testing.T) {
	for target, class := range map[string]fault.Class{
		"127.0.0.1:9393": 0, "localhost:9393": 0, "[::1]:9393": 0, "unix:/run/x": 0, "192.0.2.1:9393": fault.Invalid, "hub.example.org:9393": fault.Invalid,
		"dns:///localhost:1": fault.Invalid,
	} {
		c, err := client.New(target, client.Options{Tokens: client.StaticToken("t")})
		if class == 0 && err != nil || class != 0 && fault.ReasonOf(err) != "TLS_REQUIRED" {
			t.Errorf("%s: %v", target, err)
		}
		if err == nil {
			_ = c.Close()
		}
	}
}
