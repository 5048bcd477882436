package importer

import (
	"context"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/auth"
)

// inject adds the operator's properties to those an import brings. It is called when the import begins: later nobody knows the
// roles of who asked for it.
func (im *Importer) inject(ctx context.Context, in catalog.Import) catalog.Import {
	var roles []string
	if caller := auth.From(ctx); caller != nil {
		roles = caller.Roles
	}
	in.Properties = im.Inject.Apply(roles, in.Properties)
	return in
}
