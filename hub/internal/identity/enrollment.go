package identity

import (
	"context"
	"crypto"
	"crypto/subtle"
	"crypto/x509"
	"slices"
	"time"

	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/pki"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Enrollment implements atoll.agent.v1.EnrollmentService.
type Enrollment struct {
	agentv1.UnimplementedEnrollmentServiceServer
	a *Authority
}

// Enrollment returns the service that gives agents their certificates.
func (a *Authority) Enrollment() *Enrollment { return &Enrollment{a: a} }

// CreateToken issues a join token for a site; an earlier unused one stops working.
func (a *Authority) CreateToken(ctx context.Context, site image.SiteID) (string, time.Time, error) {
	token := pki.NewJoinToken(site, a.CA.Fingerprint())
	expires := a.Now().Add(a.TokenLife)
	err := a.Catalog.ChangeSite(ctx, site, func(s *storev1.Site) error {
		s.JoinTokenHash, s.JoinTokenExpireTime = pki.Hash(token.Secret), timestamppb.New(expires)
		return nil
	})
	if err != nil {
		return "", time.Time{}, err
	}
	a.Log.Info("join token created", "site", string(site), "expires", expires.UTC().Format(time.RFC3339))
	return token.String(), expires, nil
}

// Revoke revokes every certificate and the join token of a site and returns how many certificates that were.
func (a *Authority) Revoke(ctx context.Context, site image.SiteID) (int, error) {
	n := 0
	err := a.Catalog.ChangeSite(ctx, site, func(s *storev1.Site) error {
		n = revokeAll(s)
		s.JoinTokenHash, s.JoinTokenExpireTime = nil, nil
		return nil
	})
	if err == nil {
		a.Log.Warn("certificates revoked", "site", string(site), "count", n)
	}
	return n, err
}

func revokeAll(s *storev1.Site) int {
	n := 0
	for _, c := range s.Certificates {
		if !c.Revoked {
			c.Revoked = true
			n++
		}
	}
	return n
}

// Join trades a token for a certificate. Whatever is wrong with the token, the answer does not tell a guesser more than
// that it does not work, except to who holds one that did.
func (e *Enrollment) Join(ctx context.Context, req *agentv1.JoinRequest) (*agentv1.JoinResponse, error) {
	a := e.a
	address := ""
	if p, ok := peer.FromContext(ctx); ok {
		address = host(p.Addr.String())
	}
	if !a.joins.allow(address) {
		err := fault.New(fault.Exhausted, "TOO_MANY_JOINS", "too many attempts to join from this address; wait a minute")
		a.refused.noteSite("", address, err)
		return nil, err
	}
	key, err := pki.ParseCSR(req.GetCsr())
	if err != nil {
		return nil, err
	}
	site, err := a.siteOfToken(req.GetToken())
	if err != nil {
		a.refused.noteSite(site, address, err)
		return nil, err
	}
	cert, err := a.issue(ctx, site, key, func(s *storev1.Site) error {
		if err := a.checkToken(s, req.GetToken()); err != nil {
			return err // another join has used it meanwhile
		}
		revokeAll(s) // the agent that joins replaces whoever was there
		s.JoinTokenHash, s.JoinTokenExpireTime = nil, nil
		return nil
	})
	if err != nil {
		return nil, err
	}
	a.Log.Info("agent joined", "site", string(site), "address", address, "expires", cert.NotAfter.UTC().Format(time.RFC3339))
	return &agentv1.JoinResponse{SiteId: string(site), Certificate: cert.Raw, CaCertificates: a.cas()}, nil
}

// siteOfToken finds the site whose token this is.
func (a *Authority) siteOfToken(secret string) (image.SiteID, error) {
	hash := pki.Hash(secret)
	for _, s := range a.Catalog.Read().Sites() {
		if subtle.ConstantTimeCompare(hash, s.JoinTokenHash) == 1 {
			return image.SiteID(s.Id), a.checkToken(s, secret)
		}
	}
	return "", errToken
}

var errToken = fault.New(fault.Denied, "TOKEN_INVALID",
	"the join token does not work: it has been used or replaced, or its site deleted; get a new one with `atollctl site token`")

func (a *Authority) checkToken(s *storev1.Site, secret string) error {
	if subtle.ConstantTimeCompare(pki.Hash(secret), s.JoinTokenHash) != 1 {
		return errToken
	}
	if expires := s.JoinTokenExpireTime.AsTime(); !a.Now().Before(expires) {
		return fault.New(fault.Denied, "TOKEN_EXPIRED", "the join token expired at %s; get a new one with `atollctl site token %s`",
			expires.UTC().Format(time.RFC3339), s.Id)
	}
	return nil
}

// Renew replaces the certificate of the calling agent. The old one goes on working until it expires, so that an agent that
// does not get the answer can ask again.
func (e *Enrollment) Renew(ctx context.Context, req *agentv1.RenewRequest) (*agentv1.RenewResponse, error) {
	a := e.a
	site, _, err := Caller(ctx)
	if err != nil {
		return nil, err
	}
	key, err := pki.ParseCSR(req.GetCsr())
	if err != nil {
		return nil, err
	}
	cert, err := a.issue(ctx, site, key, func(*storev1.Site) error { return nil })
	if err != nil {
		return nil, err
	}
	a.Log.Info("certificate renewed", "site", string(site), "expires", cert.NotAfter.UTC().Format(time.RFC3339))
	return &agentv1.RenewResponse{Certificate: cert.Raw, CaCertificates: a.cas()}, nil
}

// mostCertificates bounds the certificates a site may have at a time; renewals need two.
const mostCertificates = 16

// issue makes a certificate and records it with its site before anybody sees it. allow may refuse and may change the
// site's record.
func (a *Authority) issue(ctx context.Context, site image.SiteID, key crypto.PublicKey, allow func(*storev1.Site) error) (*x509.Certificate, error) {
	now := a.Now()
	cert, err := a.CA.IssueAgent(site, key, now, a.CertificateLife)
	if err != nil {
		return nil, err
	}
	err = a.Catalog.ChangeSite(ctx, site, func(s *storev1.Site) error {
		if err := allow(s); err != nil {
			return err
		}
		s.Certificates = slices.DeleteFunc(s.Certificates, func(c *storev1.Certificate) bool {
			return now.After(c.ExpireTime.AsTime())
		})
		if len(s.Certificates) >= mostCertificates {
			s.Certificates = s.Certificates[1:]
		}
		s.Certificates = append(s.Certificates, &storev1.Certificate{Serial: pki.Serial(cert), ExpireTime: timestamppb.New(cert.NotAfter)})
		return nil
	})
	return cert, err
}

func (a *Authority) cas() [][]byte {
	var out [][]byte
	for _, c := range a.CA.Certificates() {
		out = append(out, c.Raw)
	}
	return out
}
