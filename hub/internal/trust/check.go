// Package trust finds the certificates that images are signed with, decides whether they may be believed, and makes the
// check that an import carries out on the bytes that come in.
package trust

import (
	"crypto/sha256"
	"hash"
	"time"
)

// Check is the signature of one image, with a certificate that has been fetched and is believed. It needs neither network
// nor token any more. Safe for concurrent use.
type Check interface {
	// NewHash returns a hash to which every byte is written as it comes in, before anything unpacks or converts it.
	NewHash() hash.Hash
	// Verify compares the signature with what that hash sums up to. SIGNATURE_INVALID (Invalid) when it does not fit,
	// CERTIFICATE_EXPIRED (Invalid) when the certificate has ended meanwhile. It does not block.
	Verify(digest []byte) (*Facts, error)
}

// Facts says what a signature has proved.
type Facts struct {
	HashMethod string // such as "SHA-256"
	KeyType    string // such as "RSA-PSS"
	// CertificateID is the UUID under which the certificate was found.
	CertificateID string
	// Fingerprint is the SHA-256 of the certificate.
	Fingerprint [sha256.Size]byte
	Subject     string    // whom the certificate names, such as "CN=builder,O=Example"
	NotAfter    time.Time // until when the certificate is valid
	Verified    time.Time // when the signature was verified
	// Trusted reports whether the operator vouches for the certificate: it leads to a root of the trust directory, or is in
	// that directory itself. Others are only accepted where the operator says so.
	Trusted bool
}
