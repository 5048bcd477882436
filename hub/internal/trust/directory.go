package trust

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/signature"
)

// Limits of the trust directory.
const (
	maxAuthorities = 256     // files in ca
	maxLists       = 8 << 20 // bytes of the revocation lists
)

// extensions of files with certificates.
var extensions = []string{".pem", ".crt", ".der"}

// Directory is a place on disk where the operator keeps certificates:
//
//	UUID.pem, UUID.crt or UUID.der  a signer's certificate, in PEM perhaps followed by those that lead to a root
//	ca/*.pem, *.crt, *.der          authorities: the self-signed ones are trusted roots, others may stand between
//	crl.pem                         lists of certificates that authorities in ca have withdrawn; optional
//
// Everything is read when it is needed, so a change counts at once. What cannot be read or parsed makes all of it unusable
// (ReasonTrust) rather than a part of it silently missing. Safe for concurrent use.
type Directory struct{ path string }

// OpenDirectory returns the directory of a path after it has read it once. Errors are Invalid and say which file is wrong.
func OpenDirectory(path string) (*Directory, error) {
	d := &Directory{path}
	if _, err := os.ReadDir(path); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "INVALID_FIELD", "signature-trust-dir: cannot be read")
	}
	if _, err := d.read(); err != nil {
		return nil, fault.BadField("signature-trust-dir", "%s", err)
	}
	return d, nil
}

// Certificate returns the certificates of a signer: NotFound when there are none, ReasonTrust (Unavailable) when they cannot
// be used. id is a UUID in lower case.
func (d *Directory) Certificate(id string) ([]*x509.Certificate, error) {
	for _, extension := range extensions {
		chain, err := certificates(filepath.Join(d.path, id+extension))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, unusable(err)
		}
		return chain, nil
	}
	return nil, fault.New(fault.NotFound, ReasonNotFound, "there is no such certificate in the trust directory")
}

// anchors returns the authorities, or ReasonTrust (Unavailable).
func (d *Directory) anchors() (*anchors, error) {
	a, err := d.read()
	if err != nil {
		return nil, unusable(err)
	}
	return a, nil
}

func unusable(err error) error {
	return fault.Wrap(err, fault.Unavailable, ReasonTrust, "the hub cannot read the certificates that it should trust; its operator has to look")
}

// read reads all authorities and lists. Its errors name files.
func (d *Directory) read() (*anchors, error) {
	a := &anchors{}
	entries, err := os.ReadDir(filepath.Join(d.path, "ca"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	files := 0
	for _, e := range entries {
		if !slices.Contains(extensions, filepath.Ext(e.Name())) {
			continue
		}
		if files++; files > maxAuthorities {
			return nil, fmt.Errorf("ca has more than %d files", maxAuthorities)
		}
		found, err := certificates(filepath.Join(d.path, "ca", e.Name()))
		if err != nil {
			return nil, err
		}
		for _, c := range found {
			a.add(c)
		}
	}
	a.revoked, err = d.lists(a.all())
	return a, err
}

// lists returns what crl.pem has. Each list must be one of an authority: one that is not would be passed over silently.
func (d *Directory) lists(authorities []*x509.Certificate) ([]*x509.RevocationList, error) {
	name := filepath.Join(d.path, "crl.pem")
	data, err := readFile(name, maxLists)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var all []*x509.RevocationList
	for block, rest := pem.Decode(data); err == nil && block != nil; block, rest = pem.Decode(rest) {
		var l *x509.RevocationList
		if l, err = x509.ParseRevocationList(block.Bytes); err != nil {
			break
		}
		if !slices.ContainsFunc(authorities, func(c *x509.Certificate) bool { return l.CheckSignatureFrom(c) == nil }) {
			err = errors.New("no authority in ca has signed the list, or it may not (keyUsage cRLSign)")
		}
		all = append(all, l)
	}
	if err == nil && len(all) == 0 {
		err = errors.New("there is no list in PEM")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return all, nil
}

// certificates reads a file of certificates.
func certificates(name string) ([]*x509.Certificate, error) {
	data, err := readFile(name, signature.MaxPEM)
	if err != nil {
		return nil, err
	}
	all, err := signature.ParseCertificates(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return all, nil
}

// readFile reads a file of at most so many bytes.
func readFile(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a file", name)
	case info.Size() > most:
		return nil, fmt.Errorf("%s is longer than %d bytes", name, most)
	}
	return io.ReadAll(io.LimitReader(f, most))
}
