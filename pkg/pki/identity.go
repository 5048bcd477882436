package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// mostFile bounds the identity files that are read.
const mostFile = 1 << 20

// Identity is a key with its certificate and the certificates of the CAs that its owner trusts. It is kept in one file, so
// that the parts always fit each other.
type Identity struct {
	Key  *ecdsa.PrivateKey
	Cert *x509.Certificate
	CAs  []*x509.Certificate
}

// TLS returns the pair as crypto/tls wants it.
func (id *Identity) TLS() *tls.Certificate {
	return &tls.Certificate{Certificate: [][]byte{id.Cert.Raw}, PrivateKey: id.Key, Leaf: id.Cert}
}

// Fits returns an error unless the certificate belongs to the key.
func (id *Identity) Fits() error {
	pub, ok := id.Cert.PublicKey.(*ecdsa.PublicKey)
	if !ok || !pub.Equal(&id.Key.PublicKey) {
		return fault.New(fault.Precondition, "BAD_IDENTITY", "the certificate does not belong to the key")
	}
	return nil
}

// Load reads an identity. A missing file is fs.ErrNotExist; one that others may read, or that is damaged, is a
// Precondition error with reason BAD_IDENTITY.
func Load(path string) (*Identity, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	if mode := st.Mode().Perm(); mode&0o077 != 0 {
		return nil, fault.New(fault.Precondition, "BAD_IDENTITY", "file %s holds a private key and has mode %04o; make it 0600", filepath.Base(path), mode)
	}
	b, err := io.ReadAll(io.LimitReader(f, mostFile))
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	id, err := parse(b)
	if err != nil {
		return nil, fault.Wrap(err, fault.Precondition, "BAD_IDENTITY", "file %s is not a key with its certificate", filepath.Base(path))
	}
	return id, id.Fits()
}

// parse reads a key, its certificate, then CA certificates.
func parse(b []byte) (*Identity, error) {
	id := &Identity{}
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		switch block.Type {
		case "PRIVATE KEY":
			key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, err
			}
			id.Key, _ = key.(*ecdsa.PrivateKey)
		case "CERTIFICATE":
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, err
			}
			if id.Cert == nil {
				id.Cert = cert
			} else {
				id.CAs = append(id.CAs, cert)
			}
		}
	}
	if len(bytes.TrimSpace(b)) > 0 || id.Key == nil || id.Cert == nil {
		return nil, errors.New("a part is missing or damaged")
	}
	return id, nil
}

// Save writes the identity with mode 0600. A crash leaves the old file or the new one, complete.
func (id *Identity) Save(path string) error { return id.save(path, os.Rename) }

// saveNew is Save unless there is a file already: then that one stays.
func (id *Identity) saveNew(path string) error {
	return id.save(path, func(temp, path string) error {
		err := os.Link(temp, path)
		switch {
		case errors.Is(err, fs.ErrExist):
			return nil
		case errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fs.ErrPermission): // a file system without hard links
			return os.Rename(temp, path)
		}
		return err
	})
}

func (id *Identity) save(path string, appear func(temp, path string) error) error {
	key, err := x509.MarshalPKCS8PrivateKey(id.Key)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "KEY", "encoding a key")
	}
	var b bytes.Buffer
	_ = pem.Encode(&b, &pem.Block{Type: "PRIVATE KEY", Bytes: key}) // a buffer takes everything
	for _, cert := range append([]*x509.Certificate{id.Cert}, id.CAs...) {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	}
	if err := writeFile(path, b.Bytes(), appear); err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	return nil
}

// writeFile makes a file appear. Order matters: the new bytes are durable before appear, which is given their file, shows
// them, and that is durable before writeFile returns.
func writeFile(path string, b []byte, appear func(temp, path string) error) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".tmp-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // fails after the rename, as it should
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := appear(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
