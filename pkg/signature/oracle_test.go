package signature

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// program returns the path of a program, without which the test is skipped; with CI=true it fails.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		lacking(t, name+" is not installed")
	}
	return path
}

func lacking(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// run runs a program and returns what it prints and whether it ended well.
func run(t *testing.T, stdin []byte, args ...string) (string, bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

// place writes files into a directory of the test and returns it.
func place(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func pkcs8(t *testing.T, k key) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(k.signer)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// TestOpenSSL lets OpenSSL verify what this package signs, and the other way round.
func TestOpenSSL(t *testing.T) {
	t.Parallel()
	openssl := program(t, "openssl")
	for _, name := range []string{"p256", "p384", "p521", "rsa2048", "rsa3072"} {
		k := named(t, name)
		certificate := certify(t, k.signer)
		public, err := x509.MarshalPKIXPublicKey(k.signer.Public())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range HashMethods {
			t.Run(name+" "+string(m), func(t *testing.T) {
				t.Parallel()
				made, err := Sign(k.signer, m, uuid, digest(m, data))
				if err != nil {
					t.Fatal(err)
				}
				dir := place(t, map[string][]byte{
					"data": data, "other": append([]byte{1}, data...), "key.pem": pkcs8(t, k), "made.sig": made.Signature,
					"pub.pem": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}),
				})
				in := func(name string) string { return filepath.Join(dir, name) }
				command := []string{openssl, "dgst", "-" + strings.ToLower(strings.Replace(string(m), "-", "", 1))}
				verify := append([]string(nil), command...)
				if k.kind == RSAPSS {
					command = append(command, "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:max")
					salt := k.signer.Public().(interface{ Size() int }).Size() - 2 - m.New().Size()
					verify = append(verify, "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:"+strconv.Itoa(salt))
				}
				verify = append(verify, "-verify", in("pub.pem"), "-signature", in("made.sig"))
				if out, ok := run(t, nil, append(verify, in("data"))...); !ok {
					t.Errorf("OpenSSL refuses what was signed here: %s", out)
				}
				if out, ok := run(t, nil, append(verify, in("other"))...); ok {
					t.Errorf("OpenSSL accepts it for other data: %s", out)
				}
				if out, ok := run(t, nil, append(command, "-sign", in("key.pem"), "-out", in("theirs.sig"), in("data"))...); !ok {
					t.Fatal(out)
				}
				theirs, err := os.ReadFile(in("theirs.sig"))
				if err != nil {
					t.Fatal(err)
				}
				r := &Request{Hash: m, Key: k.kind, CertificateID: uuid, Signature: theirs}
				if err := r.Verify(certificate, digest(m, data)); err != nil {
					t.Errorf("what OpenSSL has signed: %v", err)
				}
				refused(t, r.Verify(certificate, digest(m, data[1:])), ReasonInvalid, PropertySignature)
			})
		}
	}
}

// cursive verifies with OpenStack's own code what comes as JSON, and signs the data with the same parameters.
//
//nolint:misspell // the name of a library
const cursive = `
import base64, json, sys
from unittest import mock
from cryptography.hazmat.primitives.asymmetric import padding, ec
from cryptography.hazmat.primitives import serialization
from cryptography import x509
from cursive import signature_utils as s
job = json.load(sys.stdin)
data = base64.b64decode(job['data'])
certificate = x509.load_pem_x509_certificate(job['certificate'].encode())
key = serialization.load_pem_private_key(job['key'].encode(), None)
out = []
with mock.patch.object(s, 'get_certificate', return_value=certificate):
    for p in job['signed']:
        v = s.get_verifier(None, p['img_signature_certificate_uuid'], p['img_signature_hash_method'], p['img_signature'],
                           p['img_signature_key_type'])
        v.update(data)
        v.verify()
        h = s.get_hash_method(p['img_signature_hash_method'])
        if p['img_signature_key_type'] == 'RSA-PSS':
            made = key.sign(data, padding.PSS(mgf=padding.MGF1(h), salt_length=padding.PSS.MAX_LENGTH), h)
        else:
            made = key.sign(data, ec.ECDSA(h))
        out.append(base64.b64encode(made).decode())
print(json.dumps(out))
`

// TestCursive lets python-cursive, which Glance, Nova and Cinder verify with, verify what this package signs, and verifies
// what is signed with its parameters.
func TestCursive(t *testing.T) {
	t.Parallel()
	python := ""
	for _, p := range []string{"/usr/bin/python3", "python3"} { // the distribution's comes first: it has the package
		if _, ok := run(t, nil, p, "-c", "import cursive"); ok {
			python = p
			break
		}
	}
	if python == "" {
		lacking(t, "python3-cursive is not installed")
	}
	for _, name := range []string{"p384", "p521", "rsa2048", "rsa3072"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := named(t, name)
			certificate := certify(t, k.signer)
			job := struct {
				Data        []byte              `json:"data"`
				Certificate string              `json:"certificate"`
				Key         string              `json:"key"`
				Signed      []map[string]string `json:"signed"`
			}{
				data, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})), string(pkcs8(t, k)), nil,
			}
			for _, m := range HashMethods {
				r, err := Sign(k.signer, m, uuid, digest(m, data))
				if err != nil {
					t.Fatal(err)
				}
				job.Signed = append(job.Signed, r.Map())
			}
			stdin, err := json.Marshal(job)
			if err != nil {
				t.Fatal(err)
			}
			out, ok := run(t, stdin, python, "-c", cursive)
			if !ok {
				t.Fatal(out)
			}
			var theirs []string
			lines := strings.Split(strings.TrimSpace(out), "\n")
			if err := json.Unmarshal([]byte(lines[len(lines)-1]), &theirs); err != nil || len(theirs) != len(HashMethods) {
				t.Fatal(err, out)
			}
			for i, m := range HashMethods {
				p := job.Signed[i]
				p[PropertySignature] = theirs[i]
				r, err := FromProperties(p)
				if err == nil {
					err = r.Verify(certificate, digest(m, data))
				}
				if err != nil {
					t.Errorf("%s: %v", m, err)
				}
			}
		})
	}
}
