package importer

import "context"

func (im *Importer) hash(ctx context.Context) { <-ctx.Done() }
