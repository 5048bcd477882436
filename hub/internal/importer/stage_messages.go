package importer

import (
	"context"
	"io"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// StageMessages is Stage with the data of a caller's messages, read as Upload reads them.
func (im *Importer) StageMessages(ctx context.Context, in catalog.Import, next func() ([]byte, error)) (*storev1.Operation, error) {
	return im.take(ctx, in, im.Catalog.BeginStage, source{
		stage: true, describe: true, open: func(ctx context.Context) io.Reader { return im.follow(ctx, next) },
	})
}
