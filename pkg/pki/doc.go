// Package pki makes and checks the certificates with which agents and the hub know each other.
//
// Each hub has its own CA. Its server certificate carries the name ServerName; an agent's certificate names the agent's
// site in a URI, atoll://site/ID. Servers ask for a certificate but do not verify it during the handshake: VerifyAgent does
// that later, so that a refused agent is told why.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"math/big"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// ServerName is the name in the hub's certificate, whatever address the hub is reached at.
const ServerName = "atoll-hub"

// Lifetimes and the allowance for clocks that differ.
const (
	caLife     = 10 * 365 * 24 * time.Hour
	serverLife = 90 * 24 * time.Hour
	backdate   = 5 * time.Minute
)

// NewKey returns a fresh P-256 key.
func NewKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "KEY", "making a key")
	}
	return key, nil
}

// Fingerprint returns the SHA-256 of a certificate in hex.
func Fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}

// Serial returns the serial number of a certificate in hex.
func Serial(cert *x509.Certificate) string { return cert.SerialNumber.Text(16) }

// RenewAt returns when a certificate of this package should be replaced: two thirds of the way from when it was issued,
// which is a little after its NotBefore, to its end.
func RenewAt(cert *x509.Certificate) time.Time {
	issued := cert.NotBefore.Add(backdate)
	if issued.After(cert.NotAfter) {
		return cert.NotAfter
	}
	return issued.Add(cert.NotAfter.Sub(issued) * 2 / 3)
}

func newSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "SERIAL", "making a serial number")
	}
	return n.SetBit(n, 126, 1), nil // never zero, always the same length
}
