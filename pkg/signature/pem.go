package signature

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// Limits of what is read.
const (
	MaxPEM       = 64 << 10 // bytes of a file with a key or with certificates
	maxChain     = 16       // certificates in it
	typeCert     = "CERTIFICATE"
	typeRSA      = "RSA PRIVATE KEY"
	typeEC       = "EC PRIVATE KEY"
	typePKCS8    = "PRIVATE KEY"
	typeSecret   = "ENCRYPTED PRIVATE KEY"
	reasonKey    = "KEY_UNREADABLE"
	reasonNoCert = "CERTIFICATE_UNREADABLE"
)

// ParseCertificates returns the certificates in PEM or DER data, at least one. The first is the signer's, others may lead from
// it to a root. What else is in PEM data is passed over. Errors are Invalid; they say nothing of the data.
func ParseCertificates(data []byte) ([]*x509.Certificate, error) {
	if len(data) > MaxPEM {
		return nil, noCertificate("it is longer than 64 KiB")
	}
	ders := [][]byte{data}
	if bytes.Contains(data, []byte("-----BEGIN")) {
		ders = ders[:0]
		for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
			if block.Type == typeCert {
				ders = append(ders, block.Bytes)
			}
		}
	}
	switch {
	case len(ders) == 0:
		return nil, noCertificate("it holds none in PEM or DER")
	case len(ders) > maxChain:
		return nil, noCertificate("it holds more than 16")
	}
	var all []*x509.Certificate
	for _, der := range ders {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fault.Wrap(err, fault.Invalid, reasonNoCert, "not a certificate: it cannot be parsed as X.509 in PEM or DER")
		}
		all = append(all, c)
	}
	return all, nil
}

func noCertificate(why string) error {
	return fault.New(fault.Invalid, reasonNoCert, "not a certificate: %s", why)
}

// ParseKey returns the private key in PEM data: PKCS #8, or the older forms of RSA and EC keys. Errors are Invalid; they say
// nothing of the data. Keys under a password are refused.
func ParseKey(data []byte) (crypto.Signer, error) {
	if len(data) > MaxPEM {
		return nil, noKey("it is longer than 64 KiB")
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == typeSecret || block.Headers["DEK-Info"] != "" {
			return nil, noKey("it is under a password; 'openssl pkey -in KEY -out PLAIN' takes that away")
		}
		var key any
		var err error
		switch block.Type {
		case typePKCS8:
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case typeRSA:
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case typeEC:
			key, err = x509.ParseECPrivateKey(block.Bytes)
		default:
			continue // such as the parameters of a curve
		}
		return asSigner(key, err)
	}
	return nil, noKey("it holds none in PEM")
}

func asSigner(key any, err error) (crypto.Signer, error) {
	if err != nil {
		return nil, noKey("it is damaged, or not of a kind that is known")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, noKey("it cannot sign")
	}
	if _, err := typeOf(signer.Public()); err != nil {
		return nil, fault.New(fault.Invalid, ReasonUnsupported, "the key cannot be used: %s", err)
	}
	return signer, nil
}

func noKey(why string) error {
	return fault.New(fault.Invalid, reasonKey, "not a private key: %s", why)
}
