package trust

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/signature"
)

func TestUnsigned(t *testing.T) {
	s := world(nil, nil)
	if c, err := s.Prepare(t.Context(), nil, map[string]string{"os_distro": "debian"}); c != nil || err != nil {
		t.Errorf("%v, %v", c, err)
	}
	s.Required = true
	c, err := s.Prepare(t.Context(), nil, map[string]string{"os_distro": "debian"})
	if reason(t, err, ReasonRequired); c != nil || !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), signature.PropertySignature) {
		t.Errorf("%v, %v", c, err)
	}
}

func TestPartOfASignature(t *testing.T) {
	by := issue(t, nil, signer(), generate())
	f := newFolder(t)
	f.put(signerID+".pem", toPEM(by))
	for _, required := range []bool{false, true} {
		s := world(f.open(), nil, func(c *Config) { c.Required = required })
		for _, name := range signature.Properties {
			p := signed(t, by.key, signerID, []byte("data"))
			delete(p, name)
			c, err := s.Prepare(t.Context(), nil, p)
			if reason(t, err, signature.ReasonIncomplete); c != nil || !strings.HasPrefix(err.Error(), name+": ") {
				t.Errorf("without %s: %v", name, err)
			}
		}
	}
}

func TestNobodyKnowsCertificates(t *testing.T) {
	by := issue(t, nil, signer(), generate())
	_, err := world(nil, nil).Prepare(t.Context(), nil, signed(t, by.key, signerID, []byte("data")))
	if reason(t, err, ReasonNotFound); !strings.Contains(err.Error(), "--signature-trust-dir") {
		t.Error(err)
	}
}

func TestSwappedCertificate(t *testing.T) {
	by, other := issue(t, nil, signer(), generate()), issue(t, nil, signer(), generate())
	weak := issue(t, nil, signer(), weakKey())
	f := newFolder(t)
	f.put(signerID+".pem", toPEM(other))
	f.put(otherID+".pem", toPEM(weak))
	s := world(f.open(), nil)
	c, err := s.Prepare(t.Context(), nil, signed(t, by.key, signerID, []byte("data")))
	if err != nil {
		t.Fatal(err)
	}
	h := c.NewHash()
	_, _ = h.Write([]byte("data"))
	_, err = c.Verify(h.Sum(nil))
	reason(t, err, signature.ReasonInvalid)
	p := signed(t, by.key, otherID, []byte("data")) // of another kind of key: known before any data comes
	_, err = s.Prepare(t.Context(), nil, p)
	reason(t, err, signature.ReasonInvalid)
	p[signature.PropertyKey] = string(signature.RSAPSS)
	_, err = s.Prepare(t.Context(), nil, p)
	if reason(t, err, signature.ReasonInvalid); !strings.Contains(err.Error(), "too weak") {
		t.Error(err)
	}
}

// TestExpiryDuringTheImport lets a certificate end after its check was prepared.
func TestExpiryDuringTheImport(t *testing.T) {
	by := issue(t, nil, signer(), generate())
	f := newFolder(t)
	f.put(signerID+".pem", toPEM(by))
	clock := now
	s := world(f.open(), nil, func(c *Config) { c.Now = func() time.Time { return clock } })
	c, err := s.Prepare(t.Context(), nil, signed(t, by.key, signerID, []byte("data")))
	if err != nil {
		t.Fatal(err)
	}
	h := c.NewHash()
	_, _ = h.Write([]byte("data"))
	clock = by.NotAfter
	if _, err := c.Verify(h.Sum(nil)); err != nil {
		t.Errorf("in its last second: %v", err)
	}
	clock = by.NotAfter.Add(time.Second)
	_, err = c.Verify(h.Sum(nil))
	reason(t, err, ReasonExpired)
}

func TestSubjectIsOneLine(t *testing.T) {
	by := issue(t, nil, signer(func(c *x509.Certificate) {
		c.Subject.CommonName, c.Subject.Locality = "a\nb\x1b[31m\u202e", []string{strings.Repeat("x", 1000)}
	}), generate())
	got := subject(by.Certificate)
	if strings.ContainsAny(got, "\n\x1b\u202e") || len([]rune(got)) > 256 || !strings.Contains(got, "a?b?[31m?") && !strings.Contains(got, "xxx") {
		t.Errorf("%q", got)
	}
}

// FuzzChain judges hostile certificates: it must end soon, without a panic, and never find one that is trusted.
func FuzzChain(f *testing.F) {
	root := issue(f, nil, authority("root"), generate())
	middle := issue(f, nil, authority("middle"), generate())
	last := issue(f, middle, signer(), generate())
	a := &anchors{}
	a.add(root.Certificate)
	f.Add(toPEM(last, middle))
	f.Add(toPEM(last, root))
	f.Add(last.Raw)
	f.Add(toPEM(issue(f, nil, signer(), weakKey())))
	f.Fuzz(func(t *testing.T, data []byte) {
		chain, err := signature.ParseCertificates(data)
		if err != nil {
			return
		}
		_ = checkSigner(chain[0], now)
		_ = subject(chain[0])
		if !chain[0].Equal(root.Certificate) && a.check(chain, now) == nil {
			t.Error("trusted")
		}
	})
}
