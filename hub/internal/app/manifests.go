package app

import (
	"context"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/identity"
	"github.com/atoll-dcn/atoll/hub/internal/staging"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// manifests takes in the manifests of copies that sites hold, from those sites only.
type manifests struct {
	*staging.Area
	catalog *catalog.Catalog
}

// Expect asks the catalog. A caller without a certificate has come over the unix socket, which only the hub's own user and
// root can use.
func (m manifests) Expect(ctx context.Context, content image.ID) (manifest.End, error) {
	site, _, err := identity.Caller(ctx)
	if err != nil {
		site = ""
	}
	awaited, err := m.catalog.AwaitManifest(content, site)
	if err != nil {
		return manifest.End{}, err
	}
	end := manifest.End{Length: awaited.SizeBytes}
	copy(end.Root[:], awaited.Digest)
	return end, nil
}
