package importer

import (
	"context"
	"io"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Upload reads the data of an import from next until it returns io.EOF. It returns the operation once all bytes are
// durable in the staging area; by then the stores may be filling or done. When ctx ends or next fails the import is
// undone.
func (im *Importer) Upload(ctx context.Context, in catalog.Import, next func() ([]byte, error)) (*storev1.Operation, error) {
	op, w, err := im.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	id := image.ID(op.Id)
	im.Log.Info("upload started", "image", op.ImageId, "operation", op.Id, "bytes", in.SizeBytes)
	err = im.run(ctx, source{
		op: id, content: image.ID(op.Source.ContentId), writer: w, size: in.SizeBytes,
		open: func(context.Context) io.Reader { return &messages{next: next} },
	})
	if err != nil {
		im.Log.Warn("upload failed", "image", op.ImageId, "operation", op.Id, "error", err)
		return nil, err
	}
	im.Log.Info("upload complete", "image", op.ImageId, "operation", op.Id)
	if now, _ := im.Catalog.Read().Operation(id); now != nil {
		op = now
	}
	return op, nil
}

// messages is an io.Reader over a stream of messages.
type messages struct {
	next func() ([]byte, error)
	rest []byte
}

func (m *messages) Read(p []byte) (int, error) {
	for len(m.rest) == 0 {
		b, err := m.next()
		if isEnd(err) {
			return 0, io.EOF
		}
		if err != nil {
			return 0, err
		}
		m.rest = b
	}
	n := copy(p, m.rest)
	m.rest = m.rest[n:]
	return n, nil
}
