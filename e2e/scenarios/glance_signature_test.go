package scenarios

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/secrets"

	"github.com/atoll-dcn/atoll/e2e/lab"
	"github.com/atoll-dcn/atoll/pkg/image"
)

// signer is a certificate and its key, in files.
type signer struct {
	*x509.Certificate
	private     *ecdsa.PrivateKey
	certificate string // file
	key         string // file
}

// newSigner makes a signer, or an authority without an issuer, in a directory.
func newSigner(t *testing.T, dir, name string, issuer *signer, usage x509.KeyUsage) *signer {
	t.Helper()
	s := &signer{certificate: filepath.Join(dir, name+".pem"), key: filepath.Join(dir, name+".key")}
	var err error
	if s.private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	s.Certificate = &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: usage, BasicConstraintsValid: true, IsCA: usage == x509.KeyUsageCertSign,
	}
	by := s
	if issuer != nil {
		by = issuer
	}
	der, err := x509.CreateCertificate(rand.Reader, s.Certificate, by.Certificate, s.private.Public(), by.private)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(s.private)
	if err != nil {
		t.Fatal(err)
	}
	for file, b := range map[string]*pem.Block{s.certificate: {Type: "CERTIFICATE", Bytes: der}, s.key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// startBarbican starts a key manager for the Keystone of the tests.
func startBarbican(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("barbican-wsgi-api"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("Barbican is not installed")
		}
		t.Skip("needs Barbican: e2e/lab/packages.sh barbican")
	}
	dir := filepath.Join(t.TempDir(), "barbican")
	run := func(ctx context.Context, args ...string) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
		defer cancel()
		if out, err := exec.CommandContext(ctx, "../lab/barbican.sh", args...).CombinedOutput(); err != nil {
			t.Errorf("barbican.sh: %v\n%s", err, out)
		}
	}
	t.Cleanup(func() { run(context.Background(), "down", dir) })
	run(t.Context(), "up", dir, os.Getenv("ATOLL_TEST_KEYSTONE_DIR"))
}

// keep stores a certificate in the key manager as a user and returns its UUID.
func keep(a *lab.Actor, s *signer) string {
	a.T.Helper()
	keys, err := openstack.NewKeyManagerV1(a.Provider(), gophercloud.EndpointOpts{Region: a.Env["OS_REGION_NAME"]})
	if err != nil {
		a.T.Fatal(err)
	}
	data, err := os.ReadFile(s.certificate)
	if err != nil {
		a.T.Fatal(err)
	}
	made, err := secrets.Create(a.T.Context(), keys, secrets.CreateOpts{
		Name: "signer", SecretType: secrets.CertificateSecret, Payload: base64.StdEncoding.EncodeToString(data),
		PayloadContentType: "application/octet-stream", PayloadContentEncoding: "base64",
	}).Extract()
	if err != nil {
		a.T.Fatal(err)
	}
	return made.SecretRef[strings.LastIndexByte(made.SecretRef, '/')+1:]
}

// sign returns the properties that carry the signature of a file.
func (c *cloud) sign(file string, s *signer, id string) lab.Object {
	c.T.Helper()
	out, errs, code := c.Ctl("image", "sign", file, "--key", s.key, "--certificate", s.certificate, "--certificate-uuid", id)
	if code != 0 {
		c.T.Fatalf("image sign: exit code %d\n%s%s", code, out, errs)
	}
	p := lab.Object{}
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		p[name] = value
	}
	return p
}

// upload creates an image with properties, uploads data and returns its id with the answer.
func (c *cloud) upload(a *lab.Actor, properties lab.Object, data []byte) (string, *lab.Answer) {
	c.T.Helper()
	id := c.queue(a, properties)
	return id, a.Call(http.MethodPut, "/v2/images/"+id+"/file", data, "Content-Type", "application/octet-stream")
}

// TestSignedImages brings signed images in, with certificates of a real Barbican and of a directory of the operator.
func TestSignedImages(t *testing.T) {
	dir, trusted := t.TempDir(), t.TempDir()
	if err := os.Mkdir(filepath.Join(trusted, "ca"), 0o700); err != nil {
		t.Fatal(err)
	}
	root := newSigner(t, dir, "root", nil, x509.KeyUsageCertSign)
	demo := newSigner(t, dir, "demo", root, x509.KeyUsageDigitalSignature)
	alone := newSigner(t, dir, "alone", nil, x509.KeyUsageDigitalSignature)
	operator := newSigner(t, dir, "operator", root, x509.KeyUsageDigitalSignature)
	known := string(image.NewID())
	for from, to := range map[string]string{root.certificate: "ca/root.pem", operator.certificate: known + ".pem"} {
		if err := os.Link(from, filepath.Join(trusted, to)); err != nil {
			t.Fatal(err)
		}
	}
	c := &cloud{Cloud: lab.NewCloud(t, "--signature-trust-dir", trusted, "--require-signatures")}
	startBarbican(t)
	c.data, c.sum = lab.Data(16<<20, 8)
	c.file, c.web = c.Demo.File("disk.raw", c.data), c.serve()
	tampered := append([]byte(nil), c.data...)
	tampered[9<<20] ^= 1
	kept, bad := keep(c.Demo, demo), keep(c.Demo, alone)
	signed := c.sign(c.file, demo, kept)

	t.Run("upload", func(t *testing.T) {
		c := c.in(t)
		id, answer := c.upload(c.Demo, signed, c.data)
		answer.Is(http.StatusNoContent)
		c.holds(c.Demo, id, "central")
		if got := c.Demo.Image(id).Text("atoll_signature"); !strings.Contains(got, "ECC_SECP384R1") || !strings.Contains(got, `"trusted":true`) {
			t.Errorf("atoll_signature is %q", got)
		}
		out, errs, code := c.Ctl("--token", c.Demo.Token(), "image", "verify", id, "--certificate", demo.certificate)
		if code != 0 || !strings.Contains(out, "by the hub when the data came in") || !strings.Contains(out, "here, with the certificate given") {
			t.Errorf("image verify: exit code %d\n%s%s", code, out, errs)
		}
	})
	t.Run("web-download to every site, certificate of the operator", func(t *testing.T) {
		c := c.in(t)
		id := c.queue(c.Alt, c.sign(c.file, operator, known))
		c.Alt.Call(http.MethodPost, "/v2/images/"+id+"/import", lab.Object{
			"method": lab.Object{"name": "web-download", "uri": c.web.URL + "/disk.raw"}, "all_stores": true,
		}).Is(http.StatusAccepted)
		c.active(c.Alt, id)
		c.holds(c.Alt, id, "central", "dcn0", "dcn1")
		out, errs, code := c.Ctl("--token", c.Admin.Token(), "image", "verify", id, "--copies")
		if code != 0 || strings.Count(out, "compared with the manifest") != len(lab.Sites) {
			t.Errorf("image verify: exit code %d\n%s%s", code, out, errs)
		}
	})
	t.Run("qcow2 that is staged and converted", func(t *testing.T) {
		c := c.in(t)
		qcow2 := c.qcow2()
		id := c.queue(c.Demo, with(c.sign(qcow2, demo, kept), "disk_format", "qcow2"))
		c.Demo.Glance("image-stage", "--file", qcow2, id)
		c.Demo.Glance("image-import", id, "--import-method", "glance-direct", "--stores", "central,dcn0")
		c.active(c.Demo, id)
		c.holds(c.Demo, id, "central", "dcn0")
		img := c.Demo.Image(id)
		c.equal("source format", img.Text("atoll_source_format"), "qcow2")
		c.equal("disk format", img.Text("disk_format"), "raw")
		if got := img.Text("atoll_signature"); !strings.Contains(got, kept) {
			t.Errorf("atoll_signature is %q", got)
		}
		out, errs, code := c.Ctl("--token", c.Demo.Token(), "image", "verify", id, "--certificate", demo.certificate)
		if code != 0 || !strings.Contains(out, "the certificate given is the one that the hub has used") {
			t.Errorf("image verify: exit code %d\n%s%s", code, out, errs)
		}
	})
	t.Run("qcow2 with one bit that differs", func(t *testing.T) {
		c := c.in(t)
		qcow2 := c.qcow2()
		p := with(c.sign(qcow2, demo, kept), "disk_format", "qcow2")
		data, err := os.ReadFile(qcow2)
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)-1] ^= 1
		id := c.queue(c.Demo, p)
		c.Demo.Glance("image-stage", "--file", c.Demo.File("tampered.qcow2", data), id)
		c.Demo.Glance("image-import", id, "--import-method", "glance-direct")
		c.awaits(c.Demo, id, "the import has failed", func(img lab.Object) bool { return img.Text("os_glance_failed_import") == "central" })
		if tasks := strings.Join(c.Demo.Glance("image-tasks", id).Column("Message"), ""); !strings.Contains(tasks, "img_signature: ") {
			t.Errorf("the task says %q", tasks)
		}
		c.gone(id)
	})
	for _, test := range []struct {
		name       string
		by         *lab.Actor
		properties lab.Object
		data       []byte
		says       string
	}{
		{"one bit differs", c.Demo, signed, tampered, "img_signature: "},
		{"not signed", c.Demo, nil, c.data, "signature"},
		{"one property is missing", c.Demo, without(signed, "img_signature_key_type"), c.data, "img_signature_key_type: "},
		{"certificate of another project", c.Alt, signed, c.data, "img_signature_certificate_uuid: "},
		{"certificate of nobody", c.Demo, c.sign(c.file, alone, bad), c.data, "img_signature_certificate_uuid: "},
		{"no certificate", c.Demo, c.sign(c.file, demo, string(image.NewID())), c.data, "img_signature_certificate_uuid: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := c.in(t)
			id, answer := c.upload(test.by.In(t), test.properties, test.data)
			if answer.Is(http.StatusBadRequest); !strings.Contains(string(answer.Body), test.says) {
				t.Errorf("answer %s, want %q", answer.Body, test.says)
			}
			c.awaits(test.by.In(t), id, "the image is queued again", func(img lab.Object) bool { return img.Text("status") == "queued" })
			c.gone(id)
		})
	}
}

// qcow2 makes a qcow2 of the cloud's data and returns its path.
func (c *cloud) qcow2() string {
	c.T.Helper()
	path := filepath.Join(c.T.TempDir(), "disk.qcow2")
	if out, err := exec.CommandContext(c.T.Context(), "qemu-img", "convert", "-f", "raw", "-O", "qcow2", c.file, path).CombinedOutput(); err != nil {
		c.T.Fatalf("qemu-img: %v\n%s", err, out)
	}
	return path
}

// with returns properties with one more.
func with(all lab.Object, name, value string) lab.Object {
	all[name] = value
	return all
}

// without returns properties without one.
func without(all lab.Object, name string) lab.Object {
	rest := lab.Object{}
	for k, v := range all {
		if k != name {
			rest[k] = v
		}
	}
	return rest
}
