package keystone

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// Endpoint looks a service's URL up in the catalog of a caller's own token: a type such as "image", an interface such as
// "public", and a region (empty: Options.Region; if that is empty too, any). The URL has no slash at its end. Errors:
// NotFound when the catalog has none, Unauthenticated when the token is not valid, Unavailable when Keystone cannot be
// reached. It blocks like Verify, and asks each time.
func (v *Verifier) Endpoint(ctx context.Context, token, service, iface, region string) (string, error) {
	if region == "" {
		region = v.o.Region
	}
	if token == "" || !wellFormed(token) {
		return "", errInvalid()
	}
	catalog, err := v.session.catalog(ctx, token)
	if err != nil {
		return "", err
	}
	for _, entry := range catalog {
		if entry.Type != service {
			continue
		}
		for _, e := range entry.Endpoints {
			if e.Interface == iface && (region == "" || region == e.RegionID || region == e.Region) {
				return strings.TrimRight(e.URL, "/"), nil
			}
		}
	}
	return "", fault.New(fault.NotFound, "NO_ENDPOINT", "the service catalog has no %s endpoint of the service %s in the region", iface, service)
}

// catalog asks for the catalog as the token's owner.
func (s *session) catalog(ctx context.Context, token string) ([]tokens.CatalogEntry, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	client, err := s.provider()
	if err != nil {
		return nil, errUnreachable(err)
	}
	client.SetToken(token)
	var body struct {
		Catalog []tokens.CatalogEntry `json:"catalog"`
	}
	err = get(ctx, client, "v3/auth/catalog", nil, &body)
	if codeOf(err) == http.StatusUnauthorized {
		return nil, errInvalid()
	}
	if err != nil {
		return nil, errUnreachable(fmt.Errorf("fetch a catalog: %w", err))
	}
	return body.Catalog, nil
}
