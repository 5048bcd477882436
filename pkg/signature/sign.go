package signature

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"fmt"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
)

// Sign signs a digest with a private key and returns the signature with all that its four properties say. digest is the sum
// of a hash of the method over all bytes of the image; certificateID is the UUID under which those who verify find the
// certificate of the key. Errors are Invalid when the key is not of a type that is verified. Keys in hardware may make it
// block.
func Sign(key crypto.Signer, method HashMethod, certificateID string, digest []byte) (*Request, error) {
	t, err := typeOf(key.Public())
	if err != nil {
		return nil, fault.New(fault.Invalid, ReasonUnsupported, "the key cannot be used: %s", err)
	}
	id, err := image.ParseID(PropertyCertificate, certificateID)
	if err != nil {
		return nil, err
	}
	r := &Request{Hash: method, Key: t, CertificateID: string(id)}
	var options crypto.SignerOpts = hashes[method]
	if public, ok := key.Public().(*rsa.PublicKey); ok {
		options = &rsa.PSSOptions{SaltLength: longestSalt(public, method), Hash: hashes[method]}
	}
	if r.Signature, err = key.Sign(rand.Reader, digest, options); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return r, nil
}

// longestSalt returns the largest length of a salt in bytes (RFC 8017, section 9.1.1), the only one that OpenStack accepts.
func longestSalt(key *rsa.PublicKey, method HashMethod) int {
	return (key.N.BitLen()-1+7)/8 - 2 - hashes[method].Size()
}

// Belongs reports whether a private key is that of a public one.
func Belongs(key crypto.Signer, public crypto.PublicKey) bool {
	switch own := key.Public().(type) {
	case *rsa.PublicKey:
		return own.Equal(public)
	case *ecdsa.PublicKey:
		return own.Equal(public)
	default:
		return false
	}
}
