package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"sync"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// ServerConfig returns the configuration of the hub's TLS ports. alpn lists the protocols offered: "h2" for gRPC,
// "http/1.1" for frames. The certificate is made on first use and again after two thirds of its lifetime; it never touches
// the disk. Clients are asked for a certificate; the handler of each call verifies it with VerifyAgent. Sessions are not
// resumed, so that every connection shows its certificate.
func (c *CA) ServerConfig(now func() time.Time, alpn ...string) *tls.Config {
	s := &serverPair{ca: c, now: now}
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             alpn,
		ClientAuth:             tls.RequestClientCert,
		SessionTicketsDisabled: true,
		GetCertificate:         s.get,
		Time:                   now,
	}
}

// serverPair is the hub's own key and certificate.
type serverPair struct {
	ca  *CA
	now func() time.Time

	mu   sync.Mutex
	pair *tls.Certificate
}

func (s *serverPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if s.pair != nil && now.Before(RenewAt(s.pair.Leaf)) && now.After(s.pair.Leaf.NotBefore) { // the clock may be set back
		return s.pair, nil
	}
	key, err := NewKey()
	if err != nil {
		return nil, err
	}
	cert, err := s.ca.issueServer(&key.PublicKey, now)
	if err != nil {
		return nil, err
	}
	// The CA is sent along so that a joining agent can compare it with the fingerprint in its token.
	s.pair = &tls.Certificate{Certificate: [][]byte{cert.Raw, s.ca.cert.Raw}, PrivateKey: key, Leaf: cert}
	return s.pair, nil
}

// ClientConfig returns the configuration with which an agent calls the hub. current is asked at every handshake for the
// identity to show and the CAs to trust, so a renewed identity is used without a restart. now may differ from the
// system's clock.
func ClientConfig(now func() time.Time, current func() *Identity, alpn ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: alpn,
		ServerName: ServerName,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return current().TLS(), nil
		},
		// The usual verification has a fixed set of CAs; verifyHub does all it does with the current one.
		InsecureSkipVerify: true, //nolint:gosec // verified by VerifyConnection
		VerifyConnection: func(s tls.ConnectionState) error {
			return verifyHub(now(), current().CAs, s.PeerCertificates)
		},
	}
}

// JoinConfig returns the configuration for the first call of an agent that has no identity yet. The hub must show a
// certificate issued by the CA with the fingerprint (see Fingerprint); nothing is sent to any other.
func JoinConfig(now func() time.Time, fingerprint string, alpn ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: alpn,
		ServerName: ServerName,
		// There is no set of CAs yet: the fingerprint picks the one to trust, then verifyHub does the rest.
		InsecureSkipVerify: true, //nolint:gosec // verified by VerifyConnection
		VerifyConnection: func(s tls.ConnectionState) error {
			var cas []*x509.Certificate
			for _, cert := range s.PeerCertificates {
				if Fingerprint(cert) == fingerprint {
					cas = append(cas, cert)
				}
			}
			return verifyHub(now(), cas, s.PeerCertificates)
		},
	}
}

// verifyHub checks the certificate of a hub: issued by one of cas, valid now, named ServerName. Errors are Unauthenticated
// with reason HUB_FOREIGN or HUB_EXPIRED.
func verifyHub(now time.Time, cas, chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return fault.New(fault.Unauthenticated, "HUB_FOREIGN", "the hub has shown no certificate")
	}
	roots := x509.NewCertPool()
	for _, ca := range cas {
		roots.AddCert(ca)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, DNSName: ServerName, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	var invalid x509.CertificateInvalidError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fault.Wrap(err, fault.Unauthenticated, "HUB_EXPIRED",
			"the hub's certificate is not valid at %s; check the clocks of both machines", stamp(now))
	default:
		return fault.Wrap(err, fault.Unauthenticated, "HUB_FOREIGN", "the hub's certificate was not issued by the CA that this agent trusts: "+
			"this is another hub, or one with a new CA")
	}
}
