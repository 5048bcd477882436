package outside

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// secure starts a TLS server at 127.0.0.1 with a certificate for it and images.test, and returns the file that makes it
// trusted.
func secure(t *testing.T, until time.Time, h http.HandlerFunc) (server *httptest.Server, trust string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: until.Add(-48 * time.Hour), NotAfter: until, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, DNSNames: []string{"images.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	server = httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	server.StartTLS()
	t.Cleanup(server.Close)
	trust = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(trust, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return server, trust
}

func TestTLS(t *testing.T) {
	t.Parallel()
	data := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("data")) }
	good, trust := secure(t, time.Now().Add(time.Hour), data)
	old, oldTrust := secure(t, time.Now().Add(-time.Hour), data)
	plain := serve(t, "127.0.0.1", data)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(good.URL, "https://"))
	for name, c := range map[string]struct {
		uri, trust, reason, text string
	}{
		"trusted":       {good.URL, trust, "", ""},
		"not trusted":   {good.URL, "", ReasonUntrusted, "not trusted"},
		"another name":  {"https://other.test:" + port, trust, ReasonUntrusted, "another name"},
		"the name":      {"https://images.test:" + port, trust, "", ""},
		"expired":       {old.URL, oldTrust, ReasonUntrusted, "expired"},
		"not TLS":       {strings.Replace(plain.URL, "http:", "https:", 1), trust, ReasonUnreachable, ""},
		"TLS, not told": {strings.Replace(good.URL, "https:", "http:", 1), trust, "INVALID_FIELD", "400"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := newClient(t, func(o *Options) {
				o.CAFile, o.Resolver = c.trust, newZone(t, func(string, int64) string { return "127.0.0.1" })
			})
			got, err := get(t, client, Request{URI: c.uri})
			if c.reason == "" {
				if err != nil || string(got) != "data" {
					t.Fatalf("got %q, %v", got, err)
				}
				return
			}
			wantReason(t, name, err, c.reason)
			if !strings.Contains(fault.Public(err), c.text) {
				t.Errorf("got %q", fault.Public(err))
			}
		})
	}
}

// Whoever asked for https does not get what somebody on the way makes of it, unless a checksum proves the data.
func TestNoWayDownFromTLS(t *testing.T) {
	t.Parallel()
	plain := serve(t, "127.0.0.1", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("data")) })
	web, trust := secure(t, time.Now().Add(time.Hour), func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL, http.StatusFound)
	})
	c := newClient(t, func(o *Options) { o.CAFile = trust })
	_, err := get(t, c, Request{URI: web.URL, Follow: true})
	wantReason(t, "without a checksum", err, ReasonInsecure)
	if data, err := get(t, c, Request{URI: web.URL, Follow: true, Proven: true}); err != nil || string(data) != "data" {
		t.Errorf("got %q, %v", data, err)
	}
}
