package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io/fs"
	"net/url"
	"path/filepath"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
)

// caFile holds the CA's key and certificate in one file, so that there is never one without the other.
const caFile = "ca.pem"

// CA is the certificate authority of a hub. Safe for concurrent use.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// LoadCA loads the CA kept in dir. It only reads. A missing file is fs.ErrNotExist.
func LoadCA(dir string) (*CA, error) {
	id, err := Load(filepath.Join(dir, caFile))
	if err != nil {
		return nil, err
	}
	if !id.Cert.IsCA {
		return nil, fault.New(fault.Precondition, "BAD_CA", "the hub's CA file holds a certificate that is not a CA")
	}
	return &CA{cert: id.Cert, key: id.Key}, nil
}

// OpenCA loads the CA kept in dir, or makes one there if there is none. A damaged file is an error, never replaced. Of
// several processes that make one at the same time, also on different machines that share dir, all get the same.
func OpenCA(dir string, now time.Time) (*CA, error) {
	if ca, err := LoadCA(dir); !errors.Is(err, fs.ErrNotExist) {
		return ca, err
	}
	ca, err := newCA(now)
	if err != nil {
		return nil, err
	}
	if err := (&Identity{Key: ca.key, Cert: ca.cert}).saveNew(filepath.Join(dir, caFile)); err != nil {
		return nil, err
	}
	return LoadCA(dir) // the one that was there first
}

// newCA makes a CA in memory.
func newCA(now time.Time) (*CA, error) {
	key, err := NewKey()
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "atoll CA " + serial.Text(16)[:8]},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(caLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
	}
	cert, err := sign(t, t, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &CA{cert: cert, key: key}, nil
}

// Certificates returns the certificates by which others know this CA.
func (c *CA) Certificates() []*x509.Certificate { return []*x509.Certificate{c.cert} }

// Fingerprint returns the SHA-256 of the CA's certificate in hex.
func (c *CA) Fingerprint() string { return Fingerprint(c.cert) }

// IssueAgent returns a certificate for the agent of a site, valid for life from now, never longer than the CA itself.
func (c *CA) IssueAgent(site image.SiteID, key crypto.PublicKey, now time.Time, life time.Duration) (*x509.Certificate, error) {
	return c.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: string(site)},
		URIs:        []*url.URL{{Scheme: uriScheme, Host: uriHost, Path: "/" + string(site)}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, key, now, life)
}

// issueServer returns a certificate for the hub itself.
func (c *CA) issueServer(key crypto.PublicKey, now time.Time) (*x509.Certificate, error) {
	return c.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: ServerName},
		DNSNames:    []string{ServerName},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, key, now, serverLife)
}

func (c *CA) issue(t *x509.Certificate, key crypto.PublicKey, now time.Time, life time.Duration) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	t.SerialNumber = serial
	t.NotBefore, t.NotAfter = now.Add(-backdate), now.Add(life)
	if t.NotAfter.After(c.cert.NotAfter) {
		t.NotAfter = c.cert.NotAfter
	}
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.BasicConstraintsValid = true
	return sign(t, c.cert, key, c.key)
}

func sign(t, parent *x509.Certificate, key crypto.PublicKey, by *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, t, parent, key, by)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "SIGN", "signing a certificate")
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "SIGN", "reading back a signed certificate")
	}
	return cert, nil
}
