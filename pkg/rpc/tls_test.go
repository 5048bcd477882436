package rpc

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// writePair writes a new self-signed certificate for 127.0.0.1 and its key.
func writePair(t *testing.T, cert, key string, serial int64) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "hub"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePair(t, cert, key, 1)
	conf, err := ServerTLS(cert, key, "h2")
	if err != nil {
		t.Fatal(err)
	}
	trust, err := ClientTLS(cert)
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(ServerOptions{TLS: conf, Public: true, Log: hclog.NewNullLogger()})
	addr := serve(t, s)
	conn, err := Dial(addr, DialOptions{TLS: trust, UserAgent: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{}); err != nil {
		t.Error(err)
	}
	stranger, err := ClientTLS("")
	if err != nil {
		t.Fatal(err)
	}
	other, err := Dial(addr, DialOptions{TLS: stranger, UserAgent: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	if _, err := healthv1.NewHealthClient(other).Check(t.Context(), &healthv1.HealthCheckRequest{}); fault.ReasonOf(err) != "CERT_UNTRUSTED" {
		t.Errorf("an unknown certificate: %v", err)
	}
}

// TestRenewedCertificate replaces the files of a running server, once by something that is none.
func TestRenewedCertificate(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePair(t, cert, key, 1)
	conf, err := ServerTLS(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	serial := func() int64 {
		t.Helper()
		pair, err := conf.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(pair.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		return leaf.SerialNumber.Int64()
	}
	age := func(path string, by time.Duration) {
		t.Helper()
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(by)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(cert, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	age(cert, time.Minute)
	if got := serial(); got != 1 {
		t.Errorf("serial %d while the file is damaged", got)
	}
	writePair(t, cert, key, 2)
	age(cert, 2*time.Minute)
	if got := serial(); got != 2 {
		t.Errorf("serial %d after the renewal", got)
	}
}

func TestBadTLSFiles(t *testing.T) {
	dir := t.TempDir()
	cert, key, other := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "other.pem")
	writePair(t, filepath.Join(dir, "x.pem"), other, 1)
	writePair(t, cert, key, 2)
	if _, err := ServerTLS(cert, other); !fault.Is(err, fault.Invalid) {
		t.Errorf("a key of another certificate: %v", err)
	}
	if _, err := ServerTLS(cert, filepath.Join(dir, "nothing")); !fault.Is(err, fault.Invalid) {
		t.Errorf("no key: %v", err)
	}
	if _, err := ClientTLS(key); !fault.Is(err, fault.Invalid) {
		t.Errorf("a CA file without certificates: %v", err)
	}
	if _, err := ClientTLS(filepath.Join(dir, "nothing")); !fault.Is(err, fault.Invalid) {
		t.Errorf("no CA file: %v", err)
	}
}

// serve runs a server on loopback until the test ends.
func serve(t *testing.T, s *Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}
