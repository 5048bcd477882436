package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// mostCSR bounds signing requests in bytes.
const mostCSR = 16 << 10

// NewCSR returns a signing request for a key, DER. It names nobody: the hub decides for whom the certificate is.
func NewCSR(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "CSR", "making a signing request")
	}
	return der, nil
}

// ParseCSR returns the public key of a signing request whose sender has proved to own it. Errors are about the field csr.
func ParseCSR(der []byte) (crypto.PublicKey, error) {
	if len(der) == 0 || len(der) > mostCSR {
		return nil, fault.BadField("csr", "length %d is not between 1 and %d bytes", len(der), mostCSR)
	}
	r, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fault.BadField("csr", "not a PKCS #10 signing request in DER")
	}
	if err := r.CheckSignature(); err != nil {
		return nil, fault.BadField("csr", "its signature does not fit its key")
	}
	key, ok := r.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fault.BadField("csr", "the key is not an ECDSA key on P-256")
	}
	return key, nil
}
