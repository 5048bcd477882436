package trust

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/signature"
)

func TestSignersInTheDirectory(t *testing.T) {
	by := issue(t, nil, signer(), generate())
	for name, tt := range map[string]struct {
		file string
		data []byte
		want string
	}{
		"pem":             {signerID + ".pem", toPEM(by), ""},
		"crt in PEM":      {signerID + ".crt", toPEM(by), ""},
		"crt in DER":      {signerID + ".crt", by.Raw, ""},
		"der":             {signerID + ".der", by.Raw, ""},
		"another name":    {otherID + ".pem", toPEM(by), ReasonNotFound},
		"other extension": {signerID + ".txt", toPEM(by), ReasonNotFound},
		"garbage":         {signerID + ".pem", []byte("garbage"), ReasonTrust},
		"huge":            {signerID + ".pem", append(toPEM(by), make([]byte, signature.MaxPEM)...), ReasonTrust},
		"empty":           {signerID + ".pem", nil, ReasonTrust},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFolder(t)
			s := world(f.open(), nil)
			f.put(tt.file, tt.data) // after it was opened
			check, err := s.Prepare(t.Context(), nil, signed(t, by.key, signerID, []byte("data")))
			if tt.want != "" {
				reason(t, err, tt.want)
				if strings.Contains(fault.Public(err), f.path) {
					t.Errorf("users are told of a path: %s", fault.Public(err))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			facts := prove(t, check, by, []byte("data"))
			if !facts.Trusted || facts.Fingerprint != sha256.Sum256(by.Raw) { // the operator has put it there, and names no authorities
				t.Errorf("%+v", facts)
			}
		})
	}
}

func TestDirectoryCountsAtOnce(t *testing.T) {
	root := issue(t, nil, authority("root"), generate())
	by := issue(t, root, signer(), generate())
	f := newFolder(t)
	s := world(f.open(), nil)
	try := func() error {
		_, err := s.Prepare(t.Context(), nil, signed(t, by.key, signerID, []byte("data")))
		return err
	}
	reason(t, try(), ReasonNotFound)
	f.put(signerID+".pem", toPEM(by))
	if err := try(); err != nil {
		t.Fatal(err)
	}
	f.put("ca/other.pem", toPEM(issue(t, nil, authority("other"), generate()))) // from now on signers must lead to a root
	reason(t, try(), ReasonUntrusted)
	f.put("ca/root.pem", toPEM(root))
	if err := try(); err != nil {
		t.Fatal(err)
	}
	f.put("ca/broken.pem", []byte("half a"))
	reason(t, try(), ReasonTrust)
	if err := os.Remove(filepath.Join(f.path, "ca", "broken.pem")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(f.path, signerID+".pem")); err != nil {
		t.Fatal(err)
	}
	reason(t, try(), ReasonNotFound)
}

func TestDirectoryThatCannotBeOpened(t *testing.T) {
	for name, change := range map[string]func(folder){
		"no directory":        func(f folder) { _ = os.RemoveAll(f.path) },
		"broken authority":    func(f folder) { f.put("ca/x.pem", []byte("x")) },
		"broken list":         func(f folder) { f.put("crl.pem", []byte("x")) },
		"directory as a file": func(f folder) { _ = os.Mkdir(filepath.Join(f.path, "ca", "x.pem"), 0o700) },
		"too many authorities": func(f folder) {
			one := toPEM(issue(f, nil, authority("root"), generate()))
			for i := range maxAuthorities + 1 {
				f.put(fmt.Sprintf("ca/%d.pem", i), one)
			}
		},
		"list that is too long": func(f folder) { f.put("crl.pem", make([]byte, maxLists+1)) },
	} {
		f := newFolder(t)
		change(f)
		if _, err := OpenDirectory(f.path); !fault.Is(err, fault.Invalid) || !strings.HasPrefix(err.Error(), "signature-trust-dir") {
			t.Errorf("%s: %v", name, err)
		}
	}
	f := newFolder(t)
	f.put("ca/README", []byte("not a certificate"))
	f.open()
}

func TestListThatIsOutOfDate(t *testing.T) {
	root := issue(t, nil, authority("root", lasting), generate())
	last := issue(t, root, signer(lasting), generate())
	f := newFolder(t)
	f.put("ca/root.pem", toPEM(root))
	f.put("crl.pem", revoke(t, root, last))
	f.put(signerID+".pem", toPEM(last))
	var log bytes.Buffer
	s := world(f.open(), nil, func(c *Config) {
		c.Log = hclog.New(&hclog.LoggerOptions{Output: &log})
		c.Now = func() time.Time { return now.Add(90 * time.Minute) }
	})
	_, err := s.Prepare(t.Context(), nil, signed(t, last.key, signerID, []byte("data")))
	reason(t, err, ReasonRevoked) // it counts all the same
	if !strings.Contains(log.String(), "revocation list is out of date") {
		t.Errorf("log: %s", &log)
	}
}

func lasting(c *x509.Certificate) {
	c.NotBefore, c.NotAfter = now.Add(-time.Hour), now.Add(24*time.Hour)
}
