package importer

import (
	"context"
	"io"
	"testing"

	"github.com/atoll-dcn/atoll/hub/internal/convert"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

// broken panics where it is to convert.
type broken struct{}

func (broken) Check() error { return nil }

func (broken) Convert(context.Context, string, convert.Source, int64, int64, convert.Sink) error {
	panic("a bug")
}

// A bug that some data finds ends its import, not the hub.
func TestPanicsEndTheImport(t *testing.T) {
	t.Parallel()
	b := newWideBench(t, 128<<20)
	im := b.converting(func(c *Config) {
		c.DetectOS = func(context.Context, io.ReaderAt, int64) (string, string) { panic("another bug") }
	})
	_, err := im.Upload(t.Context(), b.image("raw"), feed(random(100), io.EOF))
	wantReason(t, err, fault.Internal, ReasonBroke)
	im = b.converting(func(c *Config) { c.Converter = broken{} })
	_, err = im.Upload(t.Context(), b.image("vmdk"), feed(formatted(t, sparseDisk(9<<20), "vmdk", "subformat=streamOptimized"), io.EOF))
	wantReason(t, err, fault.Internal, ReasonBroke)
	if n := im.converting.Taken(); n != 0 {
		t.Errorf("%d conversions go on", n)
	}
}
