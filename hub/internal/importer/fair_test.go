package importer

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/image"
)

// A project that has many imports in the queue lets another one go after its next one.
func TestImportsTakeTurns(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	im := b.importer()
	im.Fetches = 1
	var (
		mu    sync.Mutex
		order []string
		ops   []string
	)
	enqueue := func(project string) {
		img, err := b.catalog.CreateImage(t.Context(), catalog.NewImage{DiskFormat: "raw", ContainerFormat: "bare", Owner: project})
		if err != nil {
			t.Fatal(err)
		}
		in := catalog.Import{Image: image.ID(img.Id), Target: catalog.Target{All: true}, Method: MethodGlanceDownload}
		op, err := im.Enqueue(t.Context(), in, func(context.Context) (Data, error) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, project)
			return Data{ReadCloser: io.NopCloser(bytes.NewReader([]byte("data")))}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		ops = append(ops, op.Id)
	}
	for range 8 {
		enqueue("big")
	}
	enqueue("small")
	b.run(im)
	for _, op := range ops {
		if o := b.settled(op); !o.Source.Complete {
			t.Errorf("got %v", o)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(order, " "); got != "big small"+strings.Repeat(" big", 7) {
		t.Errorf("order: %s", got)
	}
}
