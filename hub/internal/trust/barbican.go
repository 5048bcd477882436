package trust

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/atoll-dcn/atoll/hub/internal/importer/outside"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/signature"
)

const (
	barbicanTimeout = 20 * time.Second
	maxSecret       = 64 << 10 // bytes of what Barbican says of a secret
)

// Endpoints looks services up in the catalog of a caller's own token, as package keystone does.
type Endpoints interface {
	Endpoint(ctx context.Context, token, service, iface, region string) (string, error)
}

// Barbican fetches certificates from OpenStack's key manager, each with the token of whoever asks: nothing is kept, so that
// nobody gets what another one may read (OSSN-0063). Safe for concurrent use.
type Barbican struct {
	Endpoints Endpoints
	Interface string          // of the service catalog, such as "public"
	Client    *outside.Client // for addresses that the service catalog names
}

// Certificate returns the certificate that is the payload of a secret, in PEM or DER.
func (b *Barbican) Certificate(ctx context.Context, id, token string) ([]*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, barbicanTimeout)
	defer cancel()
	endpoint, err := b.Endpoints.Endpoint(ctx, token, "key-manager", b.Interface, "")
	if fault.Is(err, fault.NotFound) {
		return nil, refuse(ReasonNotFound, "the hub has no certificate of this UUID, and your service catalog has no key manager")
	}
	if err != nil {
		return nil, err
	}
	s := secret{client: b.Client, url: strings.TrimSuffix(endpoint, "/v1") + "/v1/secrets/" + id, token: token}
	accept, err := s.form(ctx)
	if err != nil {
		return nil, err
	}
	data, err := s.get(ctx, "/payload", accept, signature.MaxPEM)
	if err != nil {
		return nil, err
	}
	chain, err := signature.ParseCertificates(data)
	if err != nil {
		e := refuse(ReasonUntrusted, "the secret of this UUID holds no certificate in X.509")
		e.Cause = err
		return nil, e
	}
	return chain, nil
}

// secret is one secret in Barbican. Its token goes to the address that the service catalog names and nowhere else.
type secret struct {
	client     *outside.Client
	url, token string
}

// payloads are the media types in which certificates are stored, the usual one first.
var payloads = []string{"application/octet-stream", "application/pkix-cert", "text/plain", "text/plain;charset=utf-8", "text/plain; charset=utf-8"}

// form returns the media type of the payload, which Barbican wants to be named.
func (s secret) form(ctx context.Context) (string, error) {
	data, err := s.get(ctx, "", "application/json", maxSecret)
	if err != nil {
		return "", err
	}
	var about struct {
		Type  string            `json:"secret_type"`
		Forms map[string]string `json:"content_types"`
	}
	if err := json.Unmarshal(data, &about); err != nil {
		return "", fault.Wrap(err, fault.Unavailable, ReasonKeys, "the key manager answered something else than a secret")
	}
	if about.Type != "certificate" && about.Type != "opaque" {
		return "", refuse(ReasonUntrusted, "the secret of this UUID is not of the type certificate")
	}
	if form := about.Forms["default"]; slices.Contains(payloads, form) {
		return form, nil
	}
	return payloads[0], nil
}

// get asks for a part of the secret. Errors say nothing of the address.
func (s secret) get(ctx context.Context, part, accept string, most int64) ([]byte, error) {
	body, err := s.client.Open(ctx, outside.Request{
		URI: s.url + part, Header: http.Header{"X-Auth-Token": {s.token}, "Accept": {accept}},
	})
	var data []byte
	if err == nil {
		data, err = io.ReadAll(io.LimitReader(body, most+1))
		_ = body.Close()
	}
	status, refused := errors.AsType[outside.Status](err)
	switch {
	case err == nil && int64(len(data)) > most:
		return nil, refuse(ReasonUntrusted, "what the key manager has of this UUID is too long for a certificate")
	case err == nil:
		return data, nil
	case refused && slices.Contains([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound}, int(status)):
		return nil, fault.Wrap(err, fault.NotFound, ReasonNotFound, "the key manager has no such certificate")
	case refused && int(status) < http.StatusInternalServerError:
		e := refuse(ReasonNotFound, "the key manager refused to give the certificate and answered %d", int(status))
		e.Cause = err
		return nil, e
	default:
		return nil, fault.Wrap(err, fault.Unavailable, ReasonKeys, "the key manager cannot be reached")
	}
}
