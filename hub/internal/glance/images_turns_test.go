package glance

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/image"
)

// slow are records whose commits take long enough for others to overtake; most is how many ran at the same time.
type slow struct {
	catalog.Records
	now, most *atomic.Int64
}

func (r slow) Commit(ctx context.Context, writes ...catalog.Write) error {
	n := r.now.Add(1)
	defer r.now.Add(-1)
	for old := r.most.Load(); n > old && !r.most.CompareAndSwap(old, n); old = r.most.Load() {
	}
	for range 100 {
		runtime.Gosched()
	}
	return r.Records.Commit(ctx, writes...)
}

func TestManyClientsChangeOneImage(t *testing.T) {
	const clients = 100
	a := defaultAPI(t)
	records := slow{a.records, &atomic.Int64{}, &atomic.Int64{}}
	a.server.Catalog = catalog.New(records, "central", catalog.DefaultLimits(), a.server.Now)
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
	if n := records.most.Load(); n != 1 {
		t.Errorf("%d commits at the same time", n)
	}
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
	err = all.do(t.Context(), "a", func() error { // others go on meanwhile
		return all.do(t.Context(), "b", func() error { return nil })
	})
	if err != nil || len(all.images) > 0 {
		t.Fatalf("got %v, %d images are remembered", err, len(all.images))
	}
}
