package trust

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"hash"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/signature"
)

// Reasons of errors, beside those of package signature. All are Invalid but ReasonNotKept (Precondition), and ReasonKeys and
// ReasonTrust (Unavailable).
const (
	ReasonRequired  = "SIGNATURE_REQUIRED"        // the image has no signature, and the operator wants one
	ReasonNotFound  = "CERTIFICATE_NOT_FOUND"     // nobody knows a certificate of the UUID, or the caller may not read it
	ReasonUntrusted = "CERTIFICATE_UNTRUSTED"     // the certificate leads to no trusted root, or may not sign images
	ReasonExpired   = "CERTIFICATE_EXPIRED"       // it has ended
	ReasonNotYet    = "CERTIFICATE_NOT_YET_VALID" // it has not begun
	ReasonRevoked   = "CERTIFICATE_REVOKED"       // its issuer, or the issuer of one above it, has withdrawn it
	ReasonNotKept   = "CERTIFICATE_NOT_KEPT"      // it came from the key manager with a token that is gone
	ReasonKeys      = "KEY_MANAGER_UNREACHABLE"   // the key manager does not answer
	ReasonTrust     = "TRUST_DIRECTORY_UNUSABLE"  // the hub cannot read what it should trust
)

// KeyManager keeps certificates that users have stored. The error for a certificate that is not there, or not the owner's
// of the token, is NotFound.
type KeyManager interface {
	// Certificate returns the certificate of a UUID, and others that came with it. It blocks until ctx ends.
	Certificate(ctx context.Context, id, token string) ([]*x509.Certificate, error)
}

// Config is what Signatures needs.
type Config struct {
	Directory *Directory // certificates and roots of the operator; nil: none
	Keys      KeyManager // asked for certificates that the directory has not; nil: nobody is
	// Unchained accepts certificates of the key manager that lead to no trusted root: they prove that the image is what the
	// owner of the key has signed, not who that is.
	Unchained bool
	Required  bool // refuse images without a signature
	Log       hclog.Logger
	Now       func() time.Time
}

// Signatures prepares the checks of signed images. Safe for concurrent use.
type Signatures struct{ Config }

// New returns Signatures.
func New(c Config) *Signatures { return &Signatures{c} }

// Prepare returns the check that the properties of an image ask for, nil when it is not signed. It fetches the certificate
// in the name of the caller whose request ctx is of, whose token the context carries (auth.TokenFrom), and keeps nothing for
// others. Without a caller, when the hub goes on with an import by itself, only the trust directory is asked: ReasonNotKept
// when the certificate is not there.
//
// Errors are for users and name the property. It blocks on the network for up to 20 seconds.
func (s *Signatures) Prepare(ctx context.Context, caller *auth.Caller, properties map[string]string) (Check, error) {
	r, err := signature.FromProperties(properties)
	if err != nil {
		return nil, err
	}
	if r == nil {
		if s.Required {
			return nil, fault.New(fault.Invalid, ReasonRequired, "images need a signature here: set %s and the other three properties",
				signature.PropertySignature)
		}
		return nil, nil
	}
	found, err := s.find(ctx, caller, r.CertificateID)
	if err != nil {
		return nil, err
	}
	if err := r.Fits(found.chain[0]); err != nil {
		return nil, err
	}
	trusted, err := s.judge(found)
	if err != nil {
		return nil, err
	}
	return &check{request: r, certificate: found.chain[0], trusted: trusted, now: s.Now}, nil
}

// found is a certificate with those that came with it.
type found struct {
	chain  []*x509.Certificate // the signer's first
	pinned bool                // it is in the trust directory
}

// find looks a certificate up, at the operator's place first.
func (s *Signatures) find(ctx context.Context, caller *auth.Caller, id string) (found, error) {
	if s.Directory != nil {
		chain, err := s.Directory.Certificate(id)
		if err == nil {
			return found{chain: chain, pinned: true}, nil
		}
		if !fault.Is(err, fault.NotFound) {
			s.Log.Error("certificate unreadable", "certificate", id, "error", err)
			return found{}, err
		}
	}
	switch {
	case s.Keys == nil && s.Directory == nil:
		return found{}, refuse(ReasonNotFound, "the hub has no place to find certificates; its operator sets --signature-trust-dir")
	case s.Keys == nil:
		return found{}, refuse(ReasonNotFound, "there is no certificate of this UUID")
	case caller == nil:
		return found{}, fault.New(fault.Precondition, ReasonNotKept,
			"the certificate was fetched in the name of the caller, which cannot be repeated after a restart; import the image again")
	}
	chain, err := s.Keys.Certificate(ctx, id, auth.TokenFrom(ctx))
	if fault.Is(err, fault.NotFound) {
		return found{}, refuse(ReasonNotFound, "there is no certificate of this UUID that you may read")
	}
	return found{chain: chain}, err
}

// judge reports whether the operator vouches for a certificate, or returns why it may not be used at all.
func (s *Signatures) judge(f found) (trusted bool, err error) {
	now := s.Now()
	if err := checkSigner(f.chain[0], now); err != nil {
		return false, err
	}
	var a *anchors
	if s.Directory != nil {
		if a, err = s.Directory.anchors(); err != nil {
			s.Log.Error("trust directory unusable", "error", err)
			return false, err
		}
		a.warn(s.Log, now)
	}
	if a.empty() {
		switch {
		case f.pinned:
			return true, nil
		case s.Unchained:
			return false, nil
		}
		return false, refuse(ReasonUntrusted, "the hub trusts no root that a certificate of the key manager could lead to")
	}
	err = a.check(f.chain, now)
	if s.Unchained && !f.pinned && fault.ReasonOf(err) == ReasonUntrusted {
		return false, nil
	}
	return err == nil, err
}

// check is the Check of one image.
type check struct {
	request     *signature.Request
	certificate *x509.Certificate
	trusted     bool
	now         func() time.Time
}

// NewHash returns the hash that is signed.
func (c *check) NewHash() hash.Hash { return c.request.NewHash() }

// Verify compares the signature with a digest.
func (c *check) Verify(digest []byte) (*Facts, error) {
	now := c.now()
	if err := checkDates(c.certificate, now); err != nil {
		return nil, err
	}
	if err := c.request.Verify(c.certificate, digest); err != nil {
		return nil, err
	}
	return &Facts{
		HashMethod: string(c.request.Hash), KeyType: string(c.request.Key), CertificateID: c.request.CertificateID,
		Fingerprint: sha256.Sum256(c.certificate.Raw), Subject: subject(c.certificate), NotAfter: c.certificate.NotAfter,
		Verified: now, Trusted: c.trusted,
	}, nil
}

// refuse returns an Invalid error about the certificate.
func refuse(reason, format string, args ...any) *fault.Error {
	err := fault.BadField(signature.PropertyCertificate, format, args...)
	err.Reason = reason
	return err
}
