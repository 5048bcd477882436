package trust

import (
	"bytes"
	"crypto/x509"
	"errors"
	"time"

	"github.com/hashicorp/go-hclog"
)

// anchors are the authorities that the operator trusts: those that are self-signed are roots, the others may stand between
// a root and a signer.
type anchors struct {
	roots, between []*x509.Certificate
	revoked        []*x509.RevocationList
}

func (a *anchors) empty() bool { return a == nil || len(a.roots)+len(a.between) == 0 }

// add takes one more authority.
func (a *anchors) add(c *x509.Certificate) {
	if selfSigned(c) {
		a.roots = append(a.roots, c)
	} else {
		a.between = append(a.between, c)
	}
}

func selfSigned(c *x509.Certificate) bool {
	return bytes.Equal(c.RawIssuer, c.RawSubject) && c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}

// all returns the authorities.
func (a *anchors) all() []*x509.Certificate {
	return append(append([]*x509.Certificate(nil), a.roots...), a.between...)
}

// warn tells of lists of withdrawn certificates that their issuer should have renewed. They are used all the same.
func (a *anchors) warn(log hclog.Logger, now time.Time) {
	for _, l := range a.revoked {
		if !l.NextUpdate.IsZero() && now.After(l.NextUpdate) {
			log.Warn("revocation list is out of date", "issuer", l.Issuer.String(), "next_update", l.NextUpdate)
		}
	}
}

// check returns nil when a chain of certificates, of which the first is the signer's, leads to a root. Those after it are
// hints that need not be used. Every authority on the way must be one by its basicConstraints and its keyUsage, valid now,
// and allow so many below it; nothing may be withdrawn.
func (a *anchors) check(chain []*x509.Certificate, now time.Time) error {
	options := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
	for _, c := range a.roots {
		options.Roots.AddCert(c)
	}
	for _, c := range append(append([]*x509.Certificate(nil), a.between...), chain[1:]...) {
		if checkStrength(c) == nil { // before anything is computed with a key that anybody may have made
			options.Intermediates.AddCert(c)
		}
	}
	paths, err := chain[0].Verify(options)
	if err != nil {
		return untrusted(err)
	}
	for _, path := range paths {
		if err = a.checkPath(path); err == nil {
			return nil
		}
	}
	return err
}

// checkPath checks what x509 does not insist on.
func (a *anchors) checkPath(path []*x509.Certificate) error {
	for i, c := range path {
		if err := checkStrength(c); err != nil {
			return err
		}
		if i > 0 && (!c.BasicConstraintsValid || !c.IsCA || c.KeyUsage&x509.KeyUsageCertSign == 0) {
			return refuse(ReasonUntrusted, "one above it is no authority: basicConstraints CA and keyUsage keyCertSign are needed")
		}
		if i+1 < len(path) && a.withdrawn(c, path[i+1]) {
			return refuse(ReasonRevoked, "it, or one above it, has been withdrawn by its issuer")
		}
	}
	return nil
}

// withdrawn reports whether a list of the issuer names the certificate.
func (a *anchors) withdrawn(c, issuer *x509.Certificate) bool {
	for _, l := range a.revoked {
		if !bytes.Equal(l.RawIssuer, c.RawIssuer) || l.CheckSignatureFrom(issuer) != nil {
			continue
		}
		for _, entry := range l.RevokedCertificateEntries {
			if entry.SerialNumber.Cmp(c.SerialNumber) == 0 {
				return true
			}
		}
	}
	return false
}

// untrusted says why a chain leads nowhere.
func untrusted(err error) error {
	why := "it does not lead to a root that the hub trusts"
	if bad, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		switch bad.Reason {
		case x509.Expired:
			why = "an authority above it is not valid at this time"
		case x509.TooManyIntermediates:
			why = "an authority above it does not allow so many below it (pathLen)"
		case x509.NotAuthorizedToSign:
			why = "one above it is no authority (basicConstraints)"
		case x509.IncompatibleUsage:
			why = "an authority above it may not issue certificates for signatures (extendedKeyUsage)"
		default:
		}
	}
	e := refuse(ReasonUntrusted, "%s", why)
	e.Cause = err
	return e
}
