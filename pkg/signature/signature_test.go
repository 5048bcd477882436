package signature

import (
	"bytes"
	"crypto"
	"crypto/md5"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/hex"
	"maps"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

var data = bytes.Repeat([]byte("the bytes of an image "), 1000)

// digest returns the sum of some bytes.
func digest(m HashMethod, p []byte) []byte {
	h := m.New()
	_, _ = h.Write(p)
	return h.Sum(nil)
}

// refused fails the test unless err is Invalid with the reason and names the property.
func refused(t *testing.T, err error, reason, property string) {
	t.Helper()
	e, ok := fault.As(err)
	if !ok || e.Class != fault.Invalid || e.Reason != reason || !strings.HasPrefix(e.Message, property+": ") {
		t.Fatalf("got %v, want %s about %s", err, reason, property)
	}
	if len(e.Fields) != 1 || e.Fields[0].Name != property {
		t.Errorf("fields %v", e.Fields)
	}
}

func TestEveryKeyAndHash(t *testing.T) {
	for _, k := range keys() {
		if k.kind == "" {
			continue
		}
		certificate, other := certify(t, k.signer), certify(t, another(t, k).signer)
		for _, m := range HashMethods {
			t.Run(k.name+" "+string(m), func(t *testing.T) {
				made, err := Sign(k.signer, m, uuid, digest(m, data))
				if err != nil {
					t.Fatal(err)
				}
				r, err := FromProperties(made.Map())
				if err != nil || r.Key != k.kind || r.Hash != m || r.CertificateID != uuid {
					t.Fatalf("%+v, %v", r, err)
				}
				h := r.NewHash()
				_, _ = h.Write(data)
				if err := r.Verify(certificate, h.Sum(nil)); err != nil {
					t.Fatal(err)
				}
				wrong := bytes.Clone(data)
				wrong[len(wrong)/2] ^= 1
				refused(t, r.Verify(certificate, digest(m, wrong)), ReasonInvalid, PropertySignature)
				if err := r.Verify(other, h.Sum(nil)); !fault.Is(err, fault.Invalid) {
					t.Errorf("another certificate: %v", err)
				}
				r.Signature[len(r.Signature)/2] ^= 1
				refused(t, r.Verify(certificate, h.Sum(nil)), ReasonInvalid, PropertySignature)
			})
		}
	}
}

// another returns a key that is not the one.
func another(t *testing.T, k key) key {
	return map[bool]key{true: named(t, "rsa3072"), false: named(t, "rsa2048")}[k.name == "rsa2048"]
}

func TestAnotherHashThanTheSigned(t *testing.T) {
	for _, name := range []string{"p384", "rsa2048"} {
		k := named(t, name)
		r, err := Sign(k.signer, SHA256, uuid, digest(SHA256, data))
		if err != nil {
			t.Fatal(err)
		}
		r.Hash = SHA512
		refused(t, r.Verify(certify(t, k.signer), digest(SHA512, data)), ReasonInvalid, PropertySignature)
		refused(t, r.Verify(certify(t, k.signer), digest(SHA256, data)), ReasonInvalid, PropertyHash)
	}
}

// TestOSSN0061SignatureOfAWeakHash is row 27: OpenStack once signed the MD5 of an image, so that another image of the same MD5
// had the same signature. What is signed must be the data itself, under a strong hash.
func TestOSSN0061SignatureOfAWeakHash(t *testing.T) {
	k := named(t, "rsa2048")
	certificate := certify(t, k.signer)
	weak5, weak1 := md5.Sum(data), sha1.Sum(data)
	for name, sum := range map[string][]byte{"md5": weak5[:], "sha1": weak1[:], "md5 in hex": []byte(hex.EncodeToString(weak5[:]))} {
		r, err := Sign(k.signer, SHA256, uuid, digest(SHA256, sum)) // as it was done: the checksum is what is signed
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			refused(t, r.Verify(certificate, digest(SHA256, data)), ReasonInvalid, PropertySignature)
			if err := r.Verify(certificate, sum); fault.ReasonOf(err) != ReasonInvalid {
				t.Errorf("the checksum instead of a digest: %v", err)
			}
		})
	}
	for _, method := range []string{"MD5", "SHA-1", "md5", "SHA1", ""} {
		if m, err := ParseHashMethod(method); err == nil {
			t.Errorf("%s is accepted", m)
		}
	}
}

func TestRSAOfOtherKinds(t *testing.T) {
	k := named(t, "rsa2048")
	certificate, sum := certify(t, k.signer), digest(SHA256, data)
	for name, tt := range map[string]struct {
		options crypto.SignerOpts
		right   bool
	}{
		"salt as long as the hash": {&rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}, true},
		"longest salt":             {&rsa.PSSOptions{SaltLength: 256 - 2 - 32, Hash: crypto.SHA256}, true},
		"PKCS 1, version 1.5":      {crypto.SHA256, false},
	} {
		signed, err := k.signer.Sign(rand.Reader, sum, tt.options)
		if err != nil {
			t.Fatal(err)
		}
		r := &Request{Hash: SHA256, Key: RSAPSS, Signature: signed}
		if err := r.Verify(certificate, sum); (err == nil) != tt.right {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCertificateMustFit(t *testing.T) {
	for _, tt := range []struct{ kind, key, problem string }{
		{"RSA-PSS", "p384", "one for ECC_SECP384R1"},
		{"ECC_SECP384R1", "rsa2048", "one for RSA-PSS"},
		{"ECC_SECP384R1", "p256", "one for ECC_SECP256R1"},
		{"ECC_SECP256R1", "p521", "one for ECC_SECP521R1"},
		{"RSA-PSS", "rsa1024", "too weak"},
		{"ECC_SECP256R1", "p224", "curve"},
		{"RSA-PSS", "ed25519", "neither RSA"},
	} {
		r := &Request{Hash: SHA256, Key: KeyType(tt.kind), Signature: []byte{1}}
		err := r.Verify(certify(t, named(t, tt.key).signer), digest(SHA256, data))
		refused(t, err, ReasonInvalid, PropertyKey)
		if !strings.Contains(err.Error(), tt.problem) {
			t.Errorf("%s with %s: %v", tt.kind, tt.key, err)
		}
	}
	for _, k := range otherKeys() {
		r := &Request{Hash: SHA256, Key: RSAPSS, Signature: []byte{1}}
		refused(t, r.Fits(&x509.Certificate{PublicKey: k}), ReasonInvalid, PropertyKey)
	}
}

// whole returns four good properties.
func whole(t testing.TB) map[string]string {
	t.Helper()
	r, err := Sign(named(t, "p384").signer, SHA384, uuid, digest(SHA384, data))
	if err != nil {
		t.Fatal(err)
	}
	return r.Map()
}

func TestAllFourOrNone(t *testing.T) {
	for _, none := range []map[string]string{nil, {}, {"os_distro": "debian", "img_signature_x": "1"}} {
		if r, err := FromProperties(none); r != nil || err != nil {
			t.Errorf("%v: %v, %v", none, r, err)
		}
	}
	for _, name := range Properties {
		p := whole(t)
		delete(p, name)
		_, err := FromProperties(p)
		refused(t, err, ReasonIncomplete, name)
		p[name] = ""
		_, err = FromProperties(p)
		refused(t, err, ReasonIncomplete, name)
		_, err = FromProperties(map[string]string{name: ""})
		if fault.ReasonOf(err) != ReasonIncomplete {
			t.Errorf("only %s: %v", name, err)
		}
	}
}

func TestPropertiesThatAreWrong(t *testing.T) {
	for _, tt := range []struct{ property, value, reason, says string }{
		{PropertyHash, "MD5", ReasonUnsupported, `"MD5" is not supported; use SHA-256, SHA-384, SHA-512 or SHA-224`},
		{PropertyHash, "sha-256", ReasonUnsupported, "not supported"},
		{PropertyKey, "DSA", ReasonUnsupported, "DSA is outdated"},
		{PropertyKey, "ECC_SECT571K1", ReasonUnsupported, "ECC_SECT571K1 is outdated"},
		{PropertyKey, "ECC_SECT409K1", ReasonUnsupported, "ECC_SECT409K1 is outdated"},
		{PropertyKey, "ECC_SECT571R1", ReasonUnsupported, "ECC_SECT571R1 is outdated"},
		{PropertyKey, "ECC_SECT409R1", ReasonUnsupported, "ECC_SECT409R1 is outdated"},
		{PropertyKey, "RSA", ReasonUnsupported, `"RSA" is not supported`},
		{PropertyKey, strings.Repeat("x", 5000), ReasonUnsupported, `xxx..." is not supported`},
		{PropertyCertificate, "../../etc/passwd", ReasonInvalid, "not a UUID"},
		{PropertyCertificate, uuid + "/payload", ReasonInvalid, "not a UUID"},
		{PropertySignature, "%%%", ReasonInvalid, "not base64"},
		{PropertySignature, " \n", ReasonInvalid, "not base64"},
		{PropertySignature, strings.Repeat("AAAA", 10_000), ReasonInvalid, "longer than"},
	} {
		p := whole(t)
		p[tt.property] = tt.value
		_, err := FromProperties(p)
		refused(t, err, tt.reason, tt.property)
		if !strings.Contains(err.Error(), tt.says) || len(err.Error()) > 300 {
			t.Errorf("%s: %v", tt.property, err)
		}
	}
}

func TestPropertiesAsPeopleWriteThem(t *testing.T) {
	p := maps.Clone(whole(t))
	p[PropertyCertificate] = strings.ToUpper(uuid)
	text := p[PropertySignature]
	p[PropertySignature] = "\n" + text[:40] + "\n" + text[40:] + "\n" // as "base64" without -w 0 has it
	r, err := FromProperties(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Verify(certify(t, named(t, "p384").signer), digest(SHA384, data)); err != nil || r.CertificateID != uuid {
		t.Errorf("%+v: %v", r, err)
	}
}

func TestSignRefusesWhatNobodyVerifies(t *testing.T) {
	for _, name := range []string{"rsa1024", "p224", "ed25519"} {
		if _, err := Sign(named(t, name).signer, SHA256, uuid, digest(SHA256, data)); fault.ReasonOf(err) != ReasonUnsupported {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Sign(named(t, "p256").signer, SHA256, "here", digest(SHA256, data)); !fault.Is(err, fault.Invalid) {
		t.Errorf("no UUID: %v", err)
	}
}

func TestBelongs(t *testing.T) {
	for _, a := range keys() {
		for _, b := range keys() {
			if got := Belongs(a.signer, b.signer.Public()); got != (a.name == b.name && a.name != "ed25519") {
				t.Errorf("%s and %s: %v", a.name, b.name, got)
			}
		}
	}
}
