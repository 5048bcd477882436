package signature

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func TestParseCertificates(t *testing.T) {
	one, two := certify(t, named(t, "p256").signer), certify(t, named(t, "rsa2048").signer)
	p := block(typeCert, one.Raw)
	for name, tt := range map[string]struct {
		data []byte
		want int // 0: refused
	}{
		"PEM":                          {p, 1},
		"DER":                          {one.Raw, 1},
		"PEM with text and parameters": {append([]byte("subject=CN\n"+string(block("EC PARAMETERS", []byte{5, 0}))), p...), 1},
		"chain":                        {append(bytes.Clone(p), block(typeCert, two.Raw)...), 2},
		"nothing":                      {nil, 0},
		"text":                         {[]byte("certificate"), 0},
		"only a key":                   {pkcs8(t, named(t, "p256")), 0},
		"cut DER":                      {one.Raw[:len(one.Raw)-1], 0},
		"more after the DER":           {append(bytes.Clone(one.Raw), 0), 0},
		"PEM of something else":        {block(typeCert, []byte("hello")), 0},
		"one of two is broken":         {append(bytes.Clone(p), block(typeCert, one.Raw[:50])...), 0},
		"too many":                     {bytes.Repeat(p, maxChain+1), 0},
		"too long":                     {append(bytes.Clone(p), make([]byte, MaxPEM)...), 0},
		"endless PEM":                  {bytes.Repeat([]byte("-----BEGIN CERTIFICATE-----\n"), 2000), 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseCertificates(tt.data)
			if tt.want == 0 {
				if !fault.Is(err, fault.Invalid) || !strings.HasPrefix(fault.Public(err), "not a certificate: ") {
					t.Errorf("%d, %v", len(got), err)
				}
				return
			}
			if err != nil || len(got) != tt.want || !got[0].Equal(one) {
				t.Errorf("%d, %v", len(got), err)
			}
		})
	}
}

func TestParseKey(t *testing.T) {
	rsaKey, _ := named(t, "rsa2048").signer.(*rsa.PrivateKey)
	ecKey, _ := named(t, "p384").signer.(*ecdsa.PrivateKey)
	sec1, err := x509.MarshalECPrivateKey(ecKey)
	if err != nil {
		t.Fatal(err)
	}
	locked := pem.EncodeToMemory(&pem.Block{Type: typeRSA, Headers: map[string]string{"DEK-Info": "AES"}, Bytes: []byte{1}})
	for name, tt := range map[string]struct {
		data []byte
		says string // empty: accepted
	}{
		"PKCS 8":            {pkcs8(t, named(t, "rsa2048")), ""},
		"PKCS 1":            {block(typeRSA, x509.MarshalPKCS1PrivateKey(rsaKey)), ""},
		"SEC 1 after curve": {append(block("EC PARAMETERS", []byte{5, 0}), block(typeEC, sec1)...), ""},
		"under a password":  {block(typeSecret, []byte{1}), "openssl pkey"},
		"of old, locked":    {locked, "openssl pkey"},
		"certificate":       {block(typeCert, certify(t, ecKey).Raw), "holds none"},
		"nothing":           {nil, "holds none"},
		"damaged":           {block(typePKCS8, []byte{1, 2}), "damaged"},
		"too short":         {pkcs8(t, named(t, "rsa1024")), "too weak"},
		"of another kind":   {pkcs8(t, named(t, "ed25519")), "neither RSA"},
		"too long":          {make([]byte, MaxPEM+1), "64 KiB"},
	} {
		t.Run(name, func(t *testing.T) {
			signer, err := ParseKey(tt.data)
			if tt.says == "" {
				if err != nil || !Belongs(signer, rsaKey.Public()) && !Belongs(signer, ecKey.Public()) {
					t.Errorf("%T, %v", signer, err)
				}
				return
			}
			if !fault.Is(err, fault.Invalid) || !strings.Contains(fault.Public(err), tt.says) {
				t.Errorf("%v, want %q", err, tt.says)
			}
		})
	}
}

// FuzzCertificate parses hostile certificates and verifies with what comes out: whatever they hold, it must end soon, without
// a panic, and prove nothing.
func FuzzCertificate(f *testing.F) {
	for _, k := range keys() {
		c := certify(f, k.signer)
		f.Add(c.Raw, []byte{48, 6, 2, 1, 1, 2, 1, 1})
		f.Add(block(typeCert, c.Raw), []byte{0})
	}
	sum := digest(SHA256, data)
	f.Fuzz(func(t *testing.T, certificate, signed []byte) {
		all, err := ParseCertificates(certificate)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Error(err)
			}
			return
		}
		for _, kind := range KeyTypes {
			r := &Request{Hash: SHA256, Key: kind, Signature: signed}
			if r.Verify(all[0], sum) == nil {
				t.Errorf("%x proves data that nobody has signed", signed)
			}
		}
	})
}

// FuzzProperties parses hostile properties: they are refused, or come out as they went in.
func FuzzProperties(f *testing.F) {
	f.Add("AAAA", "SHA-256", "RSA-PSS", uuid)
	f.Add("", "MD5", "DSA", "../x")
	f.Fuzz(func(t *testing.T, signed, method, kind, id string) {
		r, err := FromProperties(map[string]string{
			PropertySignature: signed, PropertyHash: method, PropertyKey: kind, PropertyCertificate: id,
		})
		if err != nil {
			if !fault.Is(err, fault.Invalid) || r != nil {
				t.Error(r, err)
			}
			return
		}
		again, err := FromProperties(r.Map())
		if err != nil || !bytes.Equal(again.Signature, r.Signature) || again.CertificateID != r.CertificateID || again.Hash != r.Hash || again.Key != r.Key {
			t.Error(r, again, err)
		}
	})
}
