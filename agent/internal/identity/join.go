package identity

import (
	"context"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/pki"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// JoinOptions says how to join.
type JoinOptions struct {
	Token    string       // as `atollctl site create` printed it
	Site     image.SiteID // of the configuration; the token must be for it
	Hub      string       // HOST:PORT of the hub's link
	StateDir string       // exists; the identity goes there and replaces an earlier one
	Version  string       // of this software
	Now      func() time.Time
}

// Join trades a token for a certificate and stores it, and returns when it expires. It first makes sure, by the
// fingerprint in the token, that the hub is the one that issued the token: no other learns the secret. The token works once;
// when Join fails after the hub has accepted it, a new one is needed. A running agent picks the new identity up by itself.
func Join(ctx context.Context, o JoinOptions) (expires time.Time, err error) {
	token, err := pki.ParseJoinToken("token", o.Token)
	if err != nil {
		return time.Time{}, err
	}
	if token.Site != o.Site {
		return time.Time{}, fault.BadField("token", "is for site %s, the configuration says site %s", token.Site, o.Site)
	}
	key, err := pki.NewKey()
	if err != nil {
		return time.Time{}, err
	}
	csr, err := pki.NewCSR(key)
	if err != nil {
		return time.Time{}, err
	}
	conn, err := dial(o.Hub, pki.JoinConfig(o.Now, token.Fingerprint), o.Version)
	if err != nil {
		return time.Time{}, err
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := agentv1.NewEnrollmentServiceClient(conn).Join(ctx, &agentv1.JoinRequest{Token: token.Secret, Csr: csr})
	if fault.ReasonOf(err) == "HUB_FOREIGN" {
		return time.Time{}, fault.Wrap(err, fault.Unauthenticated, "WRONG_CA",
			"the hub that answers is not the one that issued the token: its CA is another; the token was not sent")
	}
	if err != nil {
		return time.Time{}, err
	}
	id, err := accept(key, o.Now(), token.Site, answer.GetCertificate(), answer.GetCaCertificates())
	if err != nil {
		return time.Time{}, err
	}
	if err := id.Save(file(o.StateDir)); err != nil {
		return time.Time{}, fault.Wrap(err, fault.Precondition, "STATE_DIR", "state_dir: the new identity cannot be written")
	}
	return id.Cert.NotAfter, nil
}
