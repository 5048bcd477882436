package pki

import (
	"crypto/x509"
	"slices"
	"strings"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
)

// Parts of the URI that names a site: atoll://site/ID.
const (
	uriScheme = "atoll"
	uriHost   = "site"
)

// VerifyAgent returns the site of an agent's certificate, or an Unauthenticated error with one of the reasons
// CERT_MISSING (cert is nil), CERT_FOREIGN (none of cas has issued it), CERT_NOT_YET_VALID, CERT_EXPIRED, CERT_BAD_SITE
// (it is no agent's certificate, or names no proper site). Whether it has been revoked is for the caller to find out.
func VerifyAgent(now time.Time, cas []*x509.Certificate, cert *x509.Certificate) (image.SiteID, error) {
	if cert == nil {
		return "", fault.New(fault.Unauthenticated, "CERT_MISSING", "no client certificate; the agent must join first")
	}
	if !slices.ContainsFunc(cas, func(ca *x509.Certificate) bool { return cert.CheckSignatureFrom(ca) == nil }) {
		return "", fault.New(fault.Unauthenticated, "CERT_FOREIGN", "the certificate was not issued by this hub; the agent must join this hub")
	}
	switch {
	case now.Before(cert.NotBefore):
		return "", fault.New(fault.Unauthenticated, "CERT_NOT_YET_VALID",
			"the certificate is valid from %s on, but the clock of the machine that checked it says %s; check both clocks", stamp(cert.NotBefore), stamp(now))
	case now.After(cert.NotAfter):
		return "", fault.New(fault.Unauthenticated, "CERT_EXPIRED", "the certificate expired at %s; the agent must join again", stamp(cert.NotAfter))
	}
	site, ok := ClaimedSite(cert)
	if !ok || cert.IsCA || !slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
		return "", fault.New(fault.Unauthenticated, "CERT_BAD_SITE", "the certificate does not name a site; the agent must join again")
	}
	return site, nil
}

// ClaimedSite returns the site that a certificate names, without verifying anything; false when it does not name exactly
// one with a proper name.
func ClaimedSite(cert *x509.Certificate) (image.SiteID, bool) {
	if len(cert.URIs) != 1 {
		return "", false
	}
	u := cert.URIs[0]
	name, ok := strings.CutPrefix(u.Path, "/")
	if !ok || u.Scheme != uriScheme || u.Host != uriHost || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", false
	}
	site, err := image.ParseSiteID("site", name)
	return site, err == nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
