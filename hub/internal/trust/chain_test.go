package trust

import (
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"testing"
	"time"
)

// noPath is an authority under which only signers may be.
func noPath(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true }

func expired(c *x509.Certificate) {
	c.NotBefore, c.NotAfter = now.Add(-2*time.Hour), now.Add(-time.Hour)
}

func notYet(c *x509.Certificate)   { c.NotBefore, c.NotAfter = now.Add(time.Hour), now.Add(2*time.Hour) }
func notSigns(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }
func noUsage(c *x509.Certificate)  { c.KeyUsage = 0 }
func noCA(c *x509.Certificate)     { c.IsCA = false }
func noBasic(c *x509.Certificate)  { c.IsCA, c.BasicConstraintsValid = false, false }

func usage(u x509.KeyUsage) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.KeyUsage = u }
}

func purpose(u ...x509.ExtKeyUsage) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.ExtKeyUsage = u }
}

func sha1(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA1 }

func unknown(c *x509.Certificate) { c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 2, 3}} }

type change = func(*x509.Certificate)

// TestChain judges a signer below an authority in the middle below a root that is trusted.
func TestChain(t *testing.T) {
	for name, tt := range map[string]struct {
		root, middle, signer change
		key                  func() crypto.Signer
		want                 string // reason; empty: trusted
	}{
		"good":                                  {},
		"enough path":                           {root: func(c *x509.Certificate) { c.MaxPathLen = 1 }, middle: noPath},
		"no room for the middle":                {root: noPath, want: ReasonUntrusted},
		"expired root":                          {root: expired, want: ReasonUntrusted},
		"expired middle":                        {middle: expired, want: ReasonUntrusted},
		"expired signer":                        {signer: expired, want: ReasonExpired},
		"root not yet valid":                    {root: notYet, want: ReasonUntrusted},
		"middle not yet valid":                  {middle: notYet, want: ReasonUntrusted},
		"signer not yet valid":                  {signer: notYet, want: ReasonNotYet},
		"root without keyCertSign":              {root: notSigns, want: ReasonUntrusted},
		"root without keyUsage":                 {root: noUsage, want: ReasonUntrusted},
		"middle without keyCertSign":            {middle: notSigns, want: ReasonUntrusted},
		"middle without keyUsage":               {middle: noUsage, want: ReasonUntrusted},
		"middle is no authority":                {middle: noCA, want: ReasonUntrusted},
		"middle has no basicConstraints":        {middle: noBasic, want: ReasonUntrusted},
		"root has no basicConstraints":          {root: noBasic, want: ReasonUntrusted},
		"signer without keyUsage":               {signer: noUsage},
		"signer may also do other things":       {signer: usage(x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment)},
		"signer may only encipher":              {signer: usage(x509.KeyUsageKeyEncipherment), want: ReasonUntrusted},
		"signer for code":                       {signer: purpose(x509.ExtKeyUsageCodeSigning, x509.ExtKeyUsageServerAuth)},
		"signer for anything":                   {signer: purpose(x509.ExtKeyUsageAny)},
		"certificate of a web server":           {signer: purpose(x509.ExtKeyUsageServerAuth), want: ReasonUntrusted},
		"signer for unknown things":             {signer: unknown, want: ReasonUntrusted},
		"authority for web servers":             {middle: purpose(x509.ExtKeyUsageServerAuth), want: ReasonUntrusted},
		"signer that is signed with SHA-1":      {signer: sha1, want: ReasonUntrusted},
		"middle that is signed with SHA-1":      {middle: sha1, want: ReasonUntrusted},
		"root that signs itself with SHA-1":     {root: sha1, want: ReasonUntrusted},
		"middle with an RSA key of 1024 bits":   {key: weakKey, want: ReasonUntrusted},
		"signer that is an authority (no harm)": {signer: func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }},
	} {
		t.Run(name, func(t *testing.T) {
			one := func(f change) []change {
				if f == nil {
					return nil
				}
				return []change{f}
			}
			if tt.key == nil {
				tt.key = generate
			}
			root := issue(t, nil, authority("root", one(tt.root)...), generate())
			middle := issue(t, root, authority("middle", one(tt.middle)...), tt.key())
			last := issue(t, middle, signer(one(tt.signer)...), generate())
			for place, files := range map[string]map[string][]byte{
				"beside the root":   {"ca/root.pem": toPEM(root), "ca/middle.crt": toPEM(middle), signerID + ".pem": toPEM(last)},
				"in one file":       {"ca/all.pem": toPEM(middle, root), signerID + ".crt": toPEM(last)},
				"behind the signer": {"ca/root.der": root.Raw, signerID + ".pem": toPEM(last, middle)},
			} {
				f := newFolder(t)
				for name, data := range files {
					f.put(name, data)
				}
				s := world(f.open(), nil)
				check, err := s.Prepare(t.Context(), nil, signed(t, last.key, signerID, []byte("data")))
				if tt.want != "" {
					if check != nil {
						t.Fatalf("%s: a check", place)
					}
					reason(t, err, tt.want)
					continue
				}
				if err != nil {
					t.Fatalf("%s: %v", place, err)
				}
				prove(t, check, last, []byte("data"))
			}
		})
	}
}

// prove lets a check verify data, which must be right, and other data.
func prove(t *testing.T, c Check, by *entity, data []byte) *Facts {
	t.Helper()
	h := c.NewHash()
	_, _ = h.Write(data)
	facts, err := c.Verify(h.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	if facts.HashMethod != "SHA-256" || facts.KeyType != "ECC_SECP384R1" || facts.CertificateID != signerID || !facts.NotAfter.Equal(by.NotAfter) ||
		facts.Subject != by.Subject.String() || !facts.Verified.Equal(now) {
		t.Errorf("%+v", facts)
	}
	h = c.NewHash()
	_, _ = h.Write(append([]byte("x"), data...))
	_, err = c.Verify(h.Sum(nil))
	reason(t, err, "SIGNATURE_INVALID")
	return facts
}

func TestOtherRoots(t *testing.T) {
	root := issue(t, nil, authority("root"), generate())
	twin := issue(t, nil, authority("root"), generate()) // of the same name
	last := issue(t, root, signer(), generate())
	alone := issue(t, nil, signer(), generate())
	for name, tt := range map[string]struct {
		trusted *entity
		by      *entity
		want    string
	}{
		"right root":                    {root, last, ""},
		"another root of the same name": {twin, last, ReasonUntrusted},
		"self-signed signer":            {root, alone, ReasonUntrusted},
		"self-signed signer as a root":  {alone, alone, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFolder(t)
			f.put("ca/root.pem", toPEM(tt.trusted))
			f.put(signerID+".pem", toPEM(tt.by))
			check, err := world(f.open(), nil).Prepare(t.Context(), nil, signed(t, tt.by.key, signerID, []byte("data")))
			if tt.want != "" {
				reason(t, err, tt.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if facts := prove(t, check, tt.by, []byte("data")); !facts.Trusted {
				t.Error("not trusted")
			}
		})
	}
}

// TestRootOfTheCaller sees that what comes along with a certificate is a hint and never a root.
func TestRootOfTheCaller(t *testing.T) {
	root := issue(t, nil, authority("root"), generate())
	own := issue(t, nil, authority("own root"), generate())
	last := issue(t, own, signer(), generate())
	f := newFolder(t)
	f.put("ca/root.pem", toPEM(root))
	f.put(signerID+".pem", toPEM(last, own))
	_, err := world(f.open(), nil).Prepare(t.Context(), nil, signed(t, last.key, signerID, []byte("data")))
	reason(t, err, ReasonUntrusted)
}

func TestRevoked(t *testing.T) {
	root := issue(t, nil, authority("root"), generate())
	middle := issue(t, root, authority("middle"), generate())
	last, next := issue(t, middle, signer(), generate()), issue(t, middle, signer(), generate())
	f := newFolder(t)
	f.put("ca/root.pem", toPEM(root, middle))
	f.put(signerID+".pem", toPEM(last))
	f.put(otherID+".pem", toPEM(next))
	s := world(f.open(), nil)
	try := func(by *entity, id string) error {
		_, err := s.Prepare(t.Context(), nil, signed(t, by.key, id, []byte("data")))
		return err
	}
	if err := try(last, signerID); err != nil {
		t.Fatal(err)
	}
	f.put("crl.pem", append(revoke(t, root), revoke(t, middle, last)...)) // counts at once
	reason(t, try(last, signerID), ReasonRevoked)
	if err := try(next, otherID); err != nil {
		t.Errorf("another certificate: %v", err)
	}
	f.put("crl.pem", revoke(t, root, middle))
	reason(t, try(next, otherID), ReasonRevoked)
	f.put("crl.pem", revoke(t, issue(t, nil, authority("root"), generate()), last)) // of nobody who is trusted
	reason(t, try(last, signerID), ReasonTrust)
	f.put("crl.pem", []byte("nothing"))
	reason(t, try(last, signerID), ReasonTrust)
}
