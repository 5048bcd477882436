package ctl

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atoll-dcn/atoll/pkg/client/clienttest"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/signature"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// desk is a directory with a file to sign, a key and its certificate, and those of somebody else.
type desk struct {
	*testing.T
	dir         string
	certificate *x509.Certificate
}

func newDesk(t *testing.T) desk {
	t.Helper()
	d := desk{T: t, dir: t.TempDir()}
	d.issue("other")
	d.certificate = d.issue("signer")
	d.put("data", sparseData())
	return d
}

func (d desk) path(name string) string { return filepath.Join(d.dir, name) }

func (d desk) put(name string, data []byte) {
	d.Helper()
	if err := os.WriteFile(d.path(name), data, 0o600); err != nil {
		d.Fatal(err)
	}
}

// issue writes NAME.key and NAME.pem.
func (d desk) issue(name string) *x509.Certificate {
	d.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		d.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: clienttest.Now().Add(-time.Hour), NotAfter: clienttest.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		d.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		d.Fatal(err)
	}
	d.put(name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	d.put(name+".pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	c, err := x509.ParseCertificate(der)
	if err != nil {
		d.Fatal(err)
	}
	return c
}

// sign signs the file and leaves the properties in data.sig.
func (d desk) sign(h *clienttest.Hub) map[string]string {
	d.Helper()
	r := atollctl(d.T, h, exitOK, "image", "sign", d.path("data"), "--key", d.path("signer.key"), "--certificate-uuid", second)
	d.put("data.sig", []byte(r.out.String()))
	p, err := parseProperties(strings.Split(strings.TrimSpace(r.out.String()), "\n"))
	if err != nil {
		d.Fatal(err)
	}
	return p
}

func TestSignFile(t *testing.T) {
	h := furnish(t)
	h.Down(true) // nobody needs it
	d := newDesk(t)
	p := d.sign(h)
	r, err := signature.FromProperties(p)
	if err != nil || r.CertificateID != second || r.Key != signature.SECP384R1 || r.Hash != signature.SHA256 {
		t.Fatalf("%v: %+v, %v", p, r, err)
	}
	sum := sha256.Sum256(sparseData())
	if err := r.Verify(d.certificate, sum[:]); err != nil {
		t.Error(err)
	}
	stdin := &run{stdin: bytes.NewReader(sparseData())}
	stdin.want(t, h, exitOK, "image", "sign", "-", "--key", d.path("signer.key"), "--certificate-uuid", strings.ToUpper(second), "--hash", "SHA-512",
		"--certificate", d.path("signer.pem"), "-o", "json")
	has(t, stdin.out.String(), `"img_signature": "`, `"img_signature_hash_method": "SHA-512"`, `"img_signature_certificate_uuid": "`+second+`"`)
}

func TestSignRefuses(t *testing.T) {
	h := furnish(t)
	d := newDesk(t)
	d.put("empty", nil)
	key, id := []string{"--key", d.path("signer.key")}, []string{"--certificate-uuid", second}
	both := append(append([]string(nil), key...), id...)
	for _, tt := range []struct {
		file string
		args []string
		code int
		says string
	}{
		{"data", id, exitUsage, "--key: "},
		{"data", key, exitUsage, "--certificate-uuid: "},
		{"none", both, exitUsage, "none: no such file"},
		{"empty", both, exitUsage, "it is empty"},
		{"data", append([]string{"--key", d.path("signer.pem")}, id...), exitUsage, "not a private key"},
		{"data", append([]string{"--key", d.path("none")}, id...), exitUsage, "no such file"},
		{"data", append([]string{"--certificate-uuid", "here"}, key...), exitUsage, "not a UUID"},
		{"data", append([]string{"--hash", "MD5"}, both...), exitUsage, "not supported"},
		{"data", append([]string{"--certificate", d.path("other.pem")}, both...), exitUsage, "[KEY_MISMATCH]"},
		{"data", append([]string{"--certificate", d.path("signer.key")}, both...), exitUsage, "not a certificate"},
		{"data", append([]string{"--image", "debian-12"}, both...), exitConflict, "[WRONG_STATUS]"},
		{"data", append([]string{"--image", "nothing"}, both...), exitNotFound, "nothing"},
	} {
		r := atollctl(t, h, tt.code, append([]string{"image", "sign", d.path(tt.file)}, tt.args...)...)
		if has(t, r.err.String(), tt.says); r.out.String() != "" {
			t.Errorf("%v: standard output %s", tt.args, &r.out)
		}
	}
}

func TestSignForAnImage(t *testing.T) {
	h := furnish(t)
	d := newDesk(t)
	h.Change(func() { h.Images[alpine].Properties = map[string]string{"os_distro": "alpine"} })
	r := atollctl(t, h, exitOK, "image", "sign", d.path("data"), "--key", d.path("signer.key"), "--certificate-uuid", second, "--image", alpine)
	has(t, r.out.String(), "os_distro=alpine", "img_signature_key_type=ECC_SECP384R1")
	if got, err := signature.FromProperties(h.Images[alpine].GetProperties()); err != nil || got == nil {
		t.Errorf("%v, %v", got, err)
	}
}

func TestVerifyFile(t *testing.T) {
	h := furnish(t)
	h.Down(true)
	d := newDesk(t)
	p := d.sign(h)
	given := []string{"image", "verify", d.path("data"), "--certificate", d.path("signer.pem")}
	with := func(more ...string) []string { return append(append([]string(nil), given...), more...) }
	r := atollctl(t, h, exitOK, with("--properties", d.path("data.sig"))...)
	has(t, r.out.String(), "ECC_SECP384R1 with SHA-256", second, "CN=signer", "here, with the certificate given")
	stdin := &run{stdin: strings.NewReader(fmt.Sprintf("img_signature=%s\n\n", p["img_signature"]))}
	stdin.want(t, h, exitOK, with("--properties", "-", "--property", "img_signature_hash_method=SHA-256", "--property", "img_signature_key_type=ECC_SECP384R1",
		"--property", "img_signature_certificate_uuid="+second, "-o", "json")...)
	has(t, stdin.out.String(), `"verified_here": true`, `"file": "`)

	for _, tt := range []struct {
		args []string
		says string
	}{
		{with(), "none of the four"},
		{with("--property", "img_signature=AAAA"), "[SIGNATURE_INCOMPLETE]"},
		{with("--properties", d.path("signer.pem")), "lines of KEY=VALUE"},
		{with("--properties", d.path("data.sig"), "--property", "img_signature_key_type=DSA"), "DSA is outdated"},
		{with("--properties", d.path("data.sig"), "--property", "img_signature_hash_method=SHA-512"), "[SIGNATURE_INVALID]"},
		{with("--properties", d.path("data.sig"), "--certificate", d.path("other.pem")), "[SIGNATURE_INVALID]"},
		{with("--properties", d.path("data.sig"), "--copies"), "--copies"},
		{[]string{"image", "verify", d.path("data"), "--properties", d.path("data.sig")}, "--certificate"},
		{[]string{"image", "verify", d.path("gone"), "--properties", d.path("data.sig"), "--certificate", d.path("signer.pem")}, "no such file"},
		{[]string{"image", "verify", "-", "--properties", "-", "--certificate", d.path("signer.pem")}, "standard input"},
		{[]string{"image", "verify", "debian-12", "--properties", d.path("data.sig")}, "belongs to a file"},
	} {
		has(t, atollctl(t, h, exitUsage, tt.args...).err.String(), tt.says)
	}
	data := sparseData()
	data[5000] ^= 1
	d.put("data", data)
	has(t, atollctl(t, h, exitUsage, with("--properties", d.path("data.sig"))...).err.String(), "[SIGNATURE_INVALID]")
}

// signedImage makes an image of the hub signed data, as the hub records it.
func (d desk) signedImage(h *clienttest.Hub) *hubv1.Image {
	d.Helper()
	p := d.sign(h)
	data := sparseData()
	h.SetData(debian, data)
	root := &rootSum{}
	for part := data; len(part) > 0; { // in odd pieces
		n := min(len(part), 777_777)
		if m, err := root.Write(part[:n]); m != n || err != nil {
			d.Fatal(m, err)
		}
		part = part[n:]
	}
	img := h.Images[debian]
	h.Change(func() {
		img.Properties, img.ManifestDigest, img.Stores = p, root.root().String(), []string{"dcn0", "central"}
		img.Signature = &hubv1.Signature{
			HashMethod: "SHA-256", KeyType: "ECC_SECP384R1", CertificateId: second, CertificateSha256: fingerprint(d.certificate),
			Subject: "CN=signer", VerifyTime: clienttest.Ago(time.Hour),
		}
	})
	return img
}

func TestVerifyImage(t *testing.T) {
	h := furnish(t)
	d := newDesk(t)
	img := d.signedImage(h)
	r := atollctl(t, h, exitOK, "image", "verify", "debian-12")
	has(t, r.out.String(), img.GetOsHashValue()+" (right)", img.GetManifestDigest()+" (right)", "ECC_SECP384R1 with SHA-256", "CN=signer",
		"by the hub when the data came in, 2026-09-01 11:00:00 UTC (1h ago)", "leads to no authority", "central: active, compared with the manifest",
		"dcn0: transferring, never compared", "dcn1: failed")
	if strings.Contains(r.out.String(), "certificate given") {
		t.Errorf("no certificate was given: %s", &r.out)
	}
	r = atollctl(t, h, exitOK, "image", "verify", debian, "--certificate", d.path("signer.pem"), "-o", "json")
	has(t, r.out.String(), `"verified_here": true`, `"certificate_compared": true`, `"manifest_digest": "`+img.GetManifestDigest(), `"store": "dcn1"`)
	r = atollctl(t, h, exitUsage, "image", "verify", debian, "--certificate", d.path("other.pem"))
	has(t, r.err.String(), "[CERTIFICATE_MISMATCH]")
	h.Change(func() { img.Signature.Trusted = true })
	if r = atollctl(t, h, exitOK, "image", "verify", debian); strings.Contains(r.out.String(), "no authority") {
		t.Errorf("the operator vouches for the certificate: %s", &r.out)
	}
	h.Change(func() { img.Signature = nil }) // properties alone prove nothing
	r = atollctl(t, h, exitOK, "image", "verify", debian)
	has(t, r.out.String(), "signature  none")
	has(t, r.err.String(), "has not verified")
	has(t, atollctl(t, h, exitUsage, "image", "verify", debian, "--certificate", d.path("other.pem")).err.String(), "[SIGNATURE_INVALID]")
	has(t, atollctl(t, h, exitOK, "image", "verify", debian, "--certificate", d.path("signer.pem")).out.String(), "here, with the certificate given")
	h.Change(func() { img.Properties = nil })
	has(t, atollctl(t, h, exitConflict, "image", "verify", debian, "--certificate", d.path("signer.pem")).err.String(), "[NOT_SIGNED]")
	has(t, atollctl(t, h, exitConflict, "image", "verify", alpine).err.String(), "[NOT_ACTIVE]")
}

func TestVerifyImageThatWasConverted(t *testing.T) {
	h := furnish(t)
	d := newDesk(t)
	img := d.signedImage(h)
	h.Change(func() {
		img.Origin = &hubv1.Origin{DiskFormat: "qcow2", ContainerFormat: "bare", Compression: "gzip"}
		p := img.GetProperties()
		p["img_signature"] = "AAAA" // of what came in
	})
	r := atollctl(t, h, exitOK, "image", "verify", debian, "--certificate", d.path("signer.pem"))
	shown := atollctl(t, h, exitOK, "image", "show", debian)
	has(t, shown.out.String(), "qcow2, bare, gzip", "CN=signer (ECC_SECP384R1 with SHA-256, verified)")
	has(t, r.out.String(), "qcow2, bare, gzip", "the certificate given is the one that the hub has used")
	has(t, atollctl(t, h, exitUsage, "image", "verify", debian, "--certificate", d.path("other.pem")).err.String(), "[CERTIFICATE_MISMATCH]")
}

func TestVerifyImageThatDiffers(t *testing.T) {
	h := furnish(t)
	d := newDesk(t)
	img := d.signedImage(h)
	digest := img.GetManifestDigest()
	h.Change(func() { img.ManifestDigest = strings.Repeat("00", 32) })
	has(t, atollctl(t, h, exitFailed, "image", "verify", debian).err.String(), "[DIGEST_MISMATCH]")
	h.Change(func() { img.ManifestDigest = "" })
	has(t, atollctl(t, h, exitOK, "image", "verify", debian).out.String(), "unknown to the hub")
	wrong := sparseData()
	wrong[9<<20] ^= 1
	h.Change(func() { h.Data[debian] = wrong })
	has(t, atollctl(t, h, exitFailed, "image", "verify", debian).err.String(), "[HASH_MISMATCH]")
	h.Change(func() { img.OsHashAlgo, img.ManifestDigest = "", digest })
	has(t, atollctl(t, h, exitFailed, "image", "verify", debian).err.String(), "[DIGEST_MISMATCH]")
}

func TestVerifyCopies(t *testing.T) {
	h := furnish(t)
	d := newDesk(t)
	d.signedImage(h)
	atollctl(t, h, exitOK, "image", "verify", debian, "--copies")
	verified := 0
	for _, op := range h.Operations {
		if op.GetKind() == hubv1.OperationKind_OPERATION_KIND_VERIFY {
			verified++
		}
	}
	if verified != 2 {
		t.Errorf("%d copies were verified", verified)
	}
	h.Fail("VerifyReplica", fault.New(fault.Precondition, "NOT_ACTIVE", "the copy is not active"))
	atollctl(t, h, exitConflict, "image", "verify", debian, "--copies")
}

func TestCertificateOutOfDate(t *testing.T) {
	d := newDesk(t)
	for at, note := range map[time.Time]bool{clienttest.Now(): false, clienttest.Now().Add(2 * time.Hour): true, clienttest.Now().Add(-2 * time.Hour): true} {
		var b buffer
		c := &cli{env: Env{Stderr: &b, Now: func() time.Time { return at }}}
		if c.noteDates(d.certificate); (b.String() != "") != note {
			t.Errorf("%v: %q", at, &b)
		}
	}
}

func TestSignatureRecord(t *testing.T) {
	at := timestamppb.New(clienttest.Now())
	s := recorded(&hubv1.Signature{CertificateSha256: hex.EncodeToString([]byte{1}), VerifyTime: at})
	if s.Fingerprint != "01" || !s.ByHub.Equal(clienttest.Now()) || recorded(nil) != nil || when(nil) != nil {
		t.Errorf("%+v", s)
	}
}
