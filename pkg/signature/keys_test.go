package signature

import (
	"crypto"
	"crypto/dsa" //nolint:staticcheck // to see that such keys are refused
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"sync"
	"testing"
	"time"
)

const uuid = "2bd882e7-1da0-4078-97fe-f1bb81f61b00"

// key is a key of tests.
type key struct {
	name   string
	signer crypto.Signer
	kind   KeyType // empty: not one to sign with
}

var keys = sync.OnceValue(func() []key {
	ec := func(c elliptic.Curve) crypto.Signer {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			panic(err)
		}
		return k
	}
	all := []key{
		{"p256", ec(elliptic.P256()), SECP256R1},
		{"p384", ec(elliptic.P384()), SECP384R1},
		{"p521", ec(elliptic.P521()), SECP521R1},
		{"rsa2048", rsaKey(2048), RSAPSS},
		{"rsa3072", rsaKey(3072), RSAPSS},
		{"rsa1024", rsaKey(1024), ""},
		{"p224", ec(elliptic.P224()), ""},
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return append(all, key{"ed25519", ed, ""})
})

func rsaKey(bits int) crypto.Signer {
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return k
}

// named returns a key.
func named(t testing.TB, name string) key {
	t.Helper()
	for _, k := range keys() {
		if k.name == name {
			return k
		}
	}
	t.Fatalf("there is no key %s", name)
	return key{}
}

// certify returns a self-signed certificate of a key.
func certify(t testing.TB, k crypto.Signer) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "signer"}, KeyUsage: x509.KeyUsageDigitalSignature,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// otherKeys are public keys that no certificate of an image may have.
func otherKeys() []any { return []any{&dsa.PublicKey{}, nil, "key"} }
