package trust

import (
	"crypto/rsa"
	"crypto/x509"
	"slices"
	"strings"
	"time"
	"unicode"
)

// checkSigner decides whether a certificate may sign images at all, whoever has issued it.
func checkSigner(c *x509.Certificate, now time.Time) error {
	if err := checkDates(c, now); err != nil {
		return err
	}
	switch {
	case c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return refuse(ReasonUntrusted, "its keyUsage has no digitalSignature")
	case !signsCode(c):
		return refuse(ReasonUntrusted, "its extendedKeyUsage has no codeSigning")
	case len(c.UnhandledCriticalExtensions) > 0:
		return refuse(ReasonUntrusted, "it has a critical extension that is not known")
	}
	return checkStrength(c)
}

// signsCode reports whether the extended usages, if there are any, allow signatures over programs: there is none for images,
// and the certificate of some web server must not do.
func signsCode(c *x509.Certificate) bool {
	if len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 {
		return true
	}
	return slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageCodeSigning) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
}

func checkDates(c *x509.Certificate, now time.Time) error {
	const day = "2006-01-02 15:04:05 MST"
	switch {
	case now.Before(c.NotBefore):
		return refuse(ReasonNotYet, "the certificate is valid only from %s", c.NotBefore.UTC().Format(day))
	case now.After(c.NotAfter):
		return refuse(ReasonExpired, "the certificate has been valid only until %s", c.NotAfter.UTC().Format(day))
	}
	return nil
}

// The lengths of RSA keys in bits, of signers and of those above them.
const (
	minRSA = 2048
	maxRSA = 8192
)

// weak are the algorithms with which others could have made the certificate.
var weak = []x509.SignatureAlgorithm{
	x509.UnknownSignatureAlgorithm, x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.DSAWithSHA256, x509.ECDSAWithSHA1,
}

// checkStrength refuses certificates that could be forged, and those that would take long to check.
func checkStrength(c *x509.Certificate) error {
	if slices.Contains(weak, c.SignatureAlgorithm) {
		return refuse(ReasonUntrusted, "it, or one above it, is signed with an algorithm that is not safe, such as SHA-1")
	}
	if key, ok := c.PublicKey.(*rsa.PublicKey); ok && (key.N.BitLen() < minRSA || key.N.BitLen() > maxRSA) {
		return refuse(ReasonUntrusted, "it, or one above it, has an RSA key of %d bits; %d to %d are accepted", key.N.BitLen(), minRSA, maxRSA)
	}
	return nil
}

// subject returns whom a certificate names, in one line of at most 256 characters.
func subject(c *x509.Certificate) string {
	const most = 256
	clean := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, c.Subject.String())
	if runes := []rune(clean); len(runes) > most {
		return string(runes[:most])
	}
	return clean
}
