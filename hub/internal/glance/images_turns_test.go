package glance

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"testing"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/image"
)

// slow are records whose commits take long enough for others to overtake.
type slow struct{ catalog.Records }

func (r slow) Commit(ctx context.Context, writes ...catalog.Write) error {
	for range 100 {
		runtime.Gosched()
	}
	return r.Records.Commit(ctx, writes...)
}

func TestManyClientsChangeOneImage(t *testing.T) {
	const clients = 100
	a := defaultAPI(t)
	a.server.Catalog = catalog.New(slow{a.records}, "central", catalog.DefaultLimits(), a.server.Now)
	id := a.create("alice", `{}`)
	var wg sync.WaitGroup
	for n := range clients {
		wg.Go(func() {
			patch := fmt.Sprintf(`[{"op": "add", "path": "/p%d", "value": "1"}]`, n)
			if w := a.do("alice", "PATCH", "/v2/images/"+id, patch); w.Code != http.StatusOK {
				t.Errorf("client %d: %d %s", n, w.Code, w.Body)
			}
		})
	}
	wg.Wait()
	if record, _ := a.records.Image(image.ID(id)); len(record.Properties) != clients {
		t.Errorf("%d properties, want %d", len(record.Properties), clients)
	}
}

func TestATurnIsGivenUpWithItsContext(t *testing.T) {
	all := newTurns()
	gone := errors.New("gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	err := all.do(t.Context(), "a", func() error {
		cancel(gone)
		return all.do(ctx, "a", func() error { return errors.New("it was not its turn") })
	})
	if !errors.Is(err, gone) {
		t.Fatalf("got %v", err)
	}
	if err := all.do(t.Context(), "a", func() error { return nil }); err != nil {
		t.Fatal(err)
	}
}
