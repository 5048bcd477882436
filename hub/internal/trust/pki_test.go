package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/signature"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	signerID = "2bd882e7-1da0-4078-97fe-f1bb81f61b00"
	otherID  = "11111111-2222-4333-8444-555555555555"
)

// now is the time of these tests.
var now = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

// entity is a certificate with its key.
type entity struct {
	*x509.Certificate
	key crypto.Signer
}

var serial atomic.Int64

func generate() crypto.Signer {
	k, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
}

var weakKey = sync.OnceValue(func() crypto.Signer {
	k, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		panic(err)
	}
	return k
})

// issue returns a certificate, by itself when issuer is nil.
func issue(t testing.TB, issuer *entity, template x509.Certificate, key crypto.Signer) *entity {
	t.Helper()
	template.SerialNumber = big.NewInt(serial.Add(1))
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = now.Add(-time.Hour), now.Add(time.Hour)
	}
	by := issuer
	if by == nil {
		by = &entity{&template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, by.Certificate, key.Public(), by.key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &entity{c, key}
}

// authority is the template of an authority.
func authority(name string, change ...func(*x509.Certificate)) x509.Certificate {
	c := x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, MaxPathLen: -1,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

// signer is the template of a signer.
func signer(change ...func(*x509.Certificate)) x509.Certificate {
	c := x509.Certificate{Subject: pkix.Name{CommonName: "builder", Locality: []string{"Example"}}, KeyUsage: x509.KeyUsageDigitalSignature}
	for _, f := range change {
		f(&c)
	}
	return c
}

func toPEM(all ...*entity) []byte {
	var out []byte
	for _, e := range all {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: e.Raw})...)
	}
	return out
}

// revoke returns a list of certificates that an authority has withdrawn.
func revoke(t *testing.T, issuer *entity, withdrawn ...*entity) []byte {
	t.Helper()
	l := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(time.Hour)}
	for _, e := range withdrawn {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: e.SerialNumber, RevocationTime: now})
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, issuer.Certificate, issuer.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

// folder is a trust directory of a test.
type folder struct {
	*testing.T
	path string
}

func newFolder(t *testing.T) folder {
	t.Helper()
	f := folder{t, t.TempDir()}
	if err := os.Mkdir(filepath.Join(f.path, "ca"), 0o700); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f folder) put(name string, data []byte) {
	f.Helper()
	if err := os.WriteFile(filepath.Join(f.path, name), data, 0o600); err != nil {
		f.Fatal(err)
	}
}

func (f folder) open() *Directory {
	f.Helper()
	d, err := OpenDirectory(f.path)
	if err != nil {
		f.Fatal(err)
	}
	return d
}

// world returns Signatures at the time of the tests.
func world(d *Directory, keys KeyManager, change ...func(*Config)) *Signatures {
	c := Config{Directory: d, Keys: keys, Log: hclog.NewNullLogger(), Now: func() time.Time { return now }}
	for _, f := range change {
		f(&c)
	}
	return New(c)
}

// signed returns the properties of data that was signed with a key.
func signed(t testing.TB, key crypto.Signer, id string, data []byte) map[string]string {
	t.Helper()
	h := signature.SHA256.New()
	_, _ = h.Write(data)
	r, err := signature.Sign(key, signature.SHA256, id, h.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	return r.Map()
}

// reason fails the test unless err has a reason and, being Invalid, names the property.
func reason(t *testing.T, err error, want string) {
	t.Helper()
	if fault.ReasonOf(err) != want || err == nil {
		t.Fatalf("got %v [%s], want %s", err, fault.ReasonOf(err), want)
	}
	if e, _ := fault.As(err); e.Class == fault.Invalid && want != ReasonRequired && (len(e.Fields) != 1 || e.Fields[0].Name == "") {
		t.Errorf("%v names no property", err)
	}
}
