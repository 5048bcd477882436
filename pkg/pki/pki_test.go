package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func testCA(t *testing.T) *CA {
	t.Helper()
	ca, err := newCA(t0)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// agent returns an identity issued by ca at time t0 for an hour.
func agent(t *testing.T, ca *CA, site string) *Identity {
	t.Helper()
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.IssueAgent(image.SiteID(site), &key.PublicKey, t0, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return &Identity{Key: key, Cert: cert, CAs: ca.Certificates()}
}

func TestVerifyAgent(t *testing.T) {
	ca, other := testCA(t), testCA(t)
	good := agent(t, ca, "dcn0").Cert
	key, _ := NewKey()
	server, err := ca.issueServer(&key.PublicKey, t0)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		now    time.Time
		cert   *x509.Certificate
		reason string
		text   string
	}{
		{"good", t0, good, "", ""},
		{"good a little before it was issued", t0.Add(-time.Minute), good, "", ""},
		{"missing", t0, nil, "CERT_MISSING", "join"},
		{"foreign", t0, agent(t, other, "dcn0").Cert, "CERT_FOREIGN", "not issued by this hub"},
		{"expired", t0.Add(2 * time.Hour), good, "CERT_EXPIRED", "2026-03-01T13:00:00Z"},
		{"not yet valid", t0.Add(-time.Hour), good, "CERT_NOT_YET_VALID", "clock"},
		{"bad name", t0, agent(t, ca, "Not A Site").Cert, "CERT_BAD_SITE", "does not name a site"},
		{"two parts", t0, agent(t, ca, "dcn0/dcn1").Cert, "CERT_BAD_SITE", "does not name a site"},
		{"the hub's own", t0, server, "CERT_BAD_SITE", "does not name a site"},
		{"the CA itself", t0, ca.cert, "CERT_BAD_SITE", "does not name a site"},
	} {
		site, err := VerifyAgent(c.now, ca.Certificates(), c.cert)
		if c.reason == "" {
			if err != nil || site != "dcn0" {
				t.Errorf("%s: got %q, %v", c.name, site, err)
			}
			continue
		}
		if !fault.Is(err, fault.Unauthenticated) || fault.ReasonOf(err) != c.reason || !strings.Contains(fault.Public(err), c.text) {
			t.Errorf("%s: got %q %v", c.name, fault.ReasonOf(err), err)
		}
	}
}

func TestClaimedSite(t *testing.T) {
	for text, want := range map[string]string{
		"atoll://site/dcn0":        "dcn0",
		"atoll://site/":            "",
		"atoll://site":             "",
		"atoll://store/dcn0":       "",
		"https://site/dcn0":        "",
		"atoll://u@site/dcn0":      "",
		"atoll://site/dcn0?x=1":    "",
		"atoll://site/dcn0#x":      "",
		"atoll://site//dcn0":       "",
		"atoll://site/dcn0/":       "",
		"atoll://site/%64cn0%2fx":  "",
		"atoll://site/os_glance_x": "",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := ClaimedSite(&x509.Certificate{URIs: []*url.URL{u}})
		if string(got) != want || ok != (want != "") {
			t.Errorf("%s: got %q, %v", text, got, ok)
		}
	}
	u, _ := url.Parse("atoll://site/dcn0")
	if _, ok := ClaimedSite(&x509.Certificate{URIs: []*url.URL{u, u}}); ok {
		t.Error("two names were accepted")
	}
}

func TestOpenCA(t *testing.T) {
	dir := t.TempDir()
	first, err := OpenCA(dir, t0)
	if err != nil {
		t.Fatal(err)
	}
	again, err := OpenCA(dir, t0.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if first.Fingerprint() != again.Fingerprint() || !first.key.Equal(again.key) {
		t.Error("opening again made another CA")
	}
	path := filepath.Join(dir, caFile)
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func() error{
		"cut":      func() error { return os.WriteFile(path, b[:len(b)/2], 0o600) },
		"empty":    func() error { return os.WriteFile(path, nil, 0o600) },
		"readable": func() error { return errors.Join(os.WriteFile(path, b, 0o600), os.Chmod(path, 0o644)) },
		"no CA":    func() error { _ = os.Remove(path); return agent(t, first, "dcn0").Save(path) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		before, _ := os.ReadFile(path)
		if _, err := OpenCA(dir, t0); !fault.Is(err, fault.Precondition) {
			t.Errorf("%s: got %v", name, err)
		}
		after, _ := os.ReadFile(path)
		if string(before) != string(after) {
			t.Errorf("%s: the file was changed", name)
		}
		_ = os.Chmod(path, 0o600)
	}
}

// Hubs that share a directory and start together have one CA.
func TestOpenCAAtTheSameTime(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	prints := make([]string, 16)
	for i := range prints {
		wg.Go(func() {
			ca, err := OpenCA(dir, t0)
			if err != nil {
				t.Error(err)
				return
			}
			prints[i] = ca.Fingerprint()
		})
	}
	wg.Wait()
	for _, p := range prints {
		if p != prints[0] {
			t.Fatalf("different CAs: %v", prints)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestIdentityFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "identity.pem")
	if _, err := Load(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: got %v", err)
	}
	ca := testCA(t)
	for range 2 { // the second replaces the first
		id := agent(t, ca, "dcn0")
		if err := id.Save(path); err != nil {
			t.Fatal(err)
		}
		got, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if !got.Key.Equal(id.Key) || !got.Cert.Equal(id.Cert) || len(got.CAs) != 1 || !got.CAs[0].Equal(ca.cert) {
			t.Error("loaded something else")
		}
	}
	files, _ := os.ReadDir(filepath.Dir(path))
	if len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
	mixed := agent(t, ca, "dcn0")
	mixed.Key, _ = NewKey()
	if err := mixed.Save(path); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); fault.ReasonOf(err) != "BAD_IDENTITY" {
		t.Errorf("key and certificate that do not fit: got %v", err)
	}
}

func TestCSR(t *testing.T) {
	key, _ := NewKey()
	der, err := NewCSR(key)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := ParseCSR(der)
	if err != nil || !key.PublicKey.Equal(pub) {
		t.Errorf("got %v, %v", pub, err)
	}
	forged := append([]byte{}, der...)
	forged[len(forged)-1] ^= 1
	other, _ := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	wrongKey, _ := NewCSR(other)
	for name, bad := range map[string][]byte{
		"empty": nil, "rubbish": []byte("hello"), "forged": forged, "huge": make([]byte, mostCSR+1), "other curve": wrongKey,
	} {
		_, err := ParseCSR(bad)
		if e, _ := fault.As(err); e == nil || len(e.Fields) != 1 || e.Fields[0].Name != "csr" {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// handshake connects a client to a server over a pipe and returns what each side says.
func handshake(t *testing.T, server, client *tls.Config) (state tls.ConnectionState, s, c error) {
	t.Helper()
	a, b := net.Pipe()
	srv, cli := tls.Server(a, server), tls.Client(b, client)
	done := make(chan error, 1)
	go func() {
		defer func() { _ = a.Close() }()
		err := srv.Handshake()
		if err == nil {
			_, err = srv.Write([]byte{1})
		}
		done <- err
	}()
	c = cli.Handshake()
	if c == nil {
		_, c = cli.Read(make([]byte, 1))
	}
	_ = b.Close()
	return srv.ConnectionState(), <-done, c
}

func TestTLS(t *testing.T) {
	ca, other := testCA(t), testCA(t)
	now := func() time.Time { return t0 }
	late := func() time.Time { return t0.Add(serverLife + time.Hour) }
	current := agent(t, ca, "dcn0")
	get := func() *Identity { return current }
	stranger := agent(t, other, "dcn0")
	mixed := &Identity{Key: stranger.Key, Cert: stranger.Cert, CAs: ca.Certificates()}

	for _, c := range []struct {
		name   string
		server *tls.Config
		client *tls.Config
		reason string // "" when the handshake succeeds
	}{
		{"agent", ca.ServerConfig(now, "h2"), ClientConfig(now, get, "h2"), ""},
		{"another hub", other.ServerConfig(now, "h2"), ClientConfig(now, get, "h2"), "HUB_FOREIGN"},
		{"expired hub", ca.ServerConfig(now, "h2"), ClientConfig(late, get, "h2"), "HUB_EXPIRED"},
		{"foreign agent is let in to be told", ca.ServerConfig(now, "h2"), ClientConfig(now, func() *Identity { return mixed }, "h2"), ""},
		{"join", ca.ServerConfig(now, "h2"), JoinConfig(now, ca.Fingerprint(), "h2"), ""},
		{"join another hub", other.ServerConfig(now, "h2"), JoinConfig(now, ca.Fingerprint(), "h2"), "HUB_FOREIGN"},
	} {
		_, _, err := handshake(t, c.server, c.client)
		if c.reason == "" && err != nil || c.reason != "" && fault.ReasonOf(err) != c.reason {
			t.Errorf("%s: got %v", c.name, err)
		}
	}

	// A new identity is shown at the next handshake, the same configuration is used.
	server, client := ca.ServerConfig(now, "http/1.1"), ClientConfig(now, get, "http/1.1")
	for _, site := range []string{"dcn0", "dcn1"} {
		current = agent(t, ca, site)
		state, s, c := handshake(t, server, client)
		if s != nil || c != nil {
			t.Fatal(s, c)
		}
		if got, err := VerifyAgent(t0, ca.Certificates(), state.PeerCertificates[0]); err != nil || string(got) != site {
			t.Errorf("got %q, %v", got, err)
		}
		if state.NegotiatedProtocol != "http/1.1" || state.Version != tls.VersionTLS13 || state.DidResume {
			t.Errorf("state %+v", state)
		}
	}
	// TLS 1.2 is refused.
	old := ClientConfig(now, get, "h2")
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	if _, _, err := handshake(t, server, old); err == nil {
		t.Error("TLS 1.2 was accepted")
	}
}

// TestServerCertificateIsReplaced checks that a hub that runs for months never shows an expired certificate.
func TestServerCertificateIsReplaced(t *testing.T) {
	now := t0
	ca := testCA(t)
	c := ca.ServerConfig(func() time.Time { return now })
	first, err := c.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(serverLife / 2)
	if same, _ := c.GetCertificate(nil); same != first {
		t.Error("replaced too early")
	}
	now = now.Add(serverLife / 4)
	next, err := c.GetCertificate(nil)
	if err != nil || next == first || !next.Leaf.NotAfter.After(first.Leaf.NotAfter) {
		t.Errorf("not replaced: %v", err)
	}
	now = t0 // the clock is set right
	if right, err := c.GetCertificate(nil); err != nil || right.Leaf.NotBefore.After(now) {
		t.Errorf("not valid after the clock was set back: %v", err)
	}
}

func TestRenewAt(t *testing.T) {
	ca := testCA(t)
	key, _ := NewKey()
	for _, life := range []time.Duration{time.Second, 30 * time.Second, time.Hour, 30 * 24 * time.Hour} {
		cert, err := ca.IssueAgent("dcn0", &key.PublicKey, t0, life)
		if err != nil {
			t.Fatal(err)
		}
		if got := RenewAt(cert).Sub(t0); got != life*2/3 {
			t.Errorf("a certificate for %v is renewed after %v", life, got)
		}
	}
}
