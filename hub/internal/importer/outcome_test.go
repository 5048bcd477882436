package importer

import (
	"bytes"
	"context"
	"io"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/catalog/catalogtest"
	"github.com/atoll-dcn/atoll/hub/internal/importer/outside"
	"github.com/atoll-dcn/atoll/hub/internal/staging"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// away is a store of records that can be told to answer nothing.
type away struct {
	*catalogtest.Records
	gone  chan struct{} // closed: commits fail
	back  chan struct{} // closed: they work again
	after bool          // commits are carried out before they fail
}

func (a *away) Commit(ctx context.Context, writes ...catalog.Write) error {
	select {
	case <-a.gone:
	default:
		return a.Records.Commit(ctx, writes...)
	}
	select {
	case <-a.back:
		return a.Records.Commit(ctx, writes...)
	default:
	}
	if a.after {
		_ = a.Records.Commit(ctx, writes...)
	}
	return fault.New(fault.Unavailable, "RECORDS_AWAY", "the store of records does not answer")
}

// newAwayBench is newBench over a store of records that can be away.
func newAwayBench(t *testing.T) (*bench, *away) {
	t.Helper()
	records := &away{Records: catalogtest.New(), gone: make(chan struct{}), back: make(chan struct{})}
	area, err := staging.Open(staging.Options{Dir: t.TempDir(), Limit: 2 * staging.MinLimit})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = area.Close() })
	b := &bench{t: t, catalog: catalog.New(records, "central", catalog.DefaultLimits(), time.Now), area: area}
	if err := b.catalog.RegisterStore(t.Context(), "central", &agentv1.StoreStatus{StoreId: "central"}); err != nil {
		t.Fatal(err)
	}
	return b, records
}

// However long the store of records is away when an upload fails, its operation does not stay running.
func TestFailureIsRecordedWhenRecordsReturn(t *testing.T) {
	t.Parallel()
	b, records := newAwayBench(t)
	im := b.importer()
	b.run(im)
	in := b.request()
	body := io.MultiReader(bytes.NewReader(random(10)), closing{records.gone}, failing{io.ErrClosedPipe})
	if _, err := im.Store(t.Context(), in, whole{body}); err == nil {
		t.Fatal("it succeeded")
	}
	op := b.catalog.Read().Operations()[0]
	if !catalog.Importing(op) {
		t.Fatalf("got %v", op)
	}
	close(records.back)
	if o := b.settled(op.Id); o.Undoing != storev1.OperationState_OPERATION_STATE_FAILED {
		t.Fatalf("got %v", o)
	}
	b.wantNothing()
}

// A fetch that begins while the store of records is away for a moment is not given up.
func TestFetchBeginsWhenRecordsReturn(t *testing.T) {
	t.Parallel()
	b, records := newAwayBench(t)
	im := b.importer()
	op, err := im.Enqueue(t.Context(), b.request(), func(context.Context) (Data, error) {
		return Data{ReadCloser: io.NopCloser(bytes.NewReader([]byte("data"))), Size: 4}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	close(records.gone)
	timer := time.AfterFunc(200*time.Millisecond, func() { close(records.back) })
	t.Cleanup(func() { timer.Stop() })
	b.run(im)
	if o := b.settled(op.Id); !o.Source.Complete {
		t.Fatalf("got %v", o)
	}
}

// closing is an empty reader that closes a channel.
type closing struct{ ch chan struct{} }

func (c closing) Read([]byte) (int, error) {
	close(c.ch)
	return 0, io.EOF
}

// Bytes that are safe are not given up because the store of records is away for a moment, nor when its answer got lost.
func TestCompletionSurvivesAbsence(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]bool{"not carried out": false, "carried out": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, records := newAwayBench(t)
			records.after = after
			in, data := b.request(), random(10)
			timer := time.AfterFunc(300*time.Millisecond, func() { close(records.back) })
			t.Cleanup(func() { timer.Stop() })
			body := io.MultiReader(bytes.NewReader(data), closing{records.gone})
			if _, err := b.importer().Store(t.Context(), in, whole{body}); err != nil {
				t.Fatal(err)
			}
			b.wantData(in.Image, data)
		})
	}
}

func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	im := New(Config{Catalog: b.catalog, Outside: fetcher(t, outside.Options{Operator: true}), Area: b.area, Queue: 2, Fetches: 1, Log: hclog.NewNullLogger()})
	var ids []image.ID
	for i := range 3 {
		in := b.request()
		in.URI = "http://127.0.0.1:1/"
		ids = append(ids, in.Image)
		_, err := im.Enqueue(t.Context(), in, nil)
		switch {
		case i < 2 && err != nil:
			t.Fatal(err)
		case i == 2:
			wantReason(t, err, fault.Unavailable, "FETCH_QUEUE_FULL")
		}
	}
	if n := len(b.area.Contents()); n != 0 {
		t.Fatalf("%d contents for fetches that wait", n)
	}
	if img, _ := b.catalog.Read().Image(ids[2]); img.Status != storev1.ImageStatus_IMAGE_STATUS_QUEUED {
		t.Fatalf("got %v", img)
	}
	// A refused request gives its place back, and a place is free again when a fetch begins.
	again := b.request()
	again.URI = "http://127.0.0.1:1/"
	b.run(im)
	for _, o := range b.catalog.Read().Operations() {
		if o := b.settled(o.Id); o.Error.GetReason() != "SOURCE_UNREACHABLE" {
			t.Fatalf("got %v", o)
		}
	}
	for range 2 * im.Queue {
		bad := again
		bad.Image = image.NewID()
		if _, err := im.Enqueue(t.Context(), bad, nil); !fault.Is(err, fault.NotFound) {
			t.Fatalf("got %v", err)
		}
	}
	if _, err := im.Enqueue(t.Context(), again, nil); err != nil {
		t.Fatal(err)
	}
}

// Only this process could open a source that is no URL: its import fails with the process, with a reason.
func TestRestartWithoutSource(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	in := b.request()
	in.Method = MethodGlanceDownload
	op, err := b.importer().Enqueue(t.Context(), in, func(context.Context) (Data, error) {
		t.Error("it was opened by a process that was never run")
		return Data{}, io.EOF
	})
	if err != nil {
		t.Fatal(err)
	}
	b.run(b.importer())
	o := b.settled(op.Id)
	if o.Undoing != storev1.OperationState_OPERATION_STATE_FAILED || o.Error.GetReason() != "IMPORT_INTERRUPTED" {
		t.Fatalf("got %v", o)
	}
	if img, _ := b.catalog.Read().Image(in.Image); len(img.FailedStores) != 1 {
		t.Fatalf("got %v", img)
	}
}

// What comes in counts against the limits of its project, and of no other.
func TestQuotaInFlight(t *testing.T) {
	t.Parallel()
	const most = 4 << 20
	for name, c := range map[string]struct {
		first  []byte // of the same project, still coming in
		bytes  int
		reason string
	}{
		"alone":           {nil, most, ""},
		"alone too large": {nil, most + 1, "STAGING_QUOTA"},
		"beside another":  {random(most), 1, "STAGING_QUOTA"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			limits := catalog.DefaultLimits()
			limits.StagedBytes = most
			b.catalog = catalog.New(recordsOf(t), "central", limits, time.Now)
			im := b.importer()
			if c.first != nil {
				hang := newSilent(append(c.first, 0))
				ended := make(chan struct{})
				in := b.request()
				go func() { defer close(ended); _, _ = im.Stage(t.Context(), in, hang) }()
				b.running(im, most+1) // so that what came before counts
				t.Cleanup(func() { hang.Interrupt(); <-ended })
			}
			_, err := im.Stage(t.Context(), b.request(), whole{bytes.NewReader(random(c.bytes))})
			if got := fault.ReasonOf(err); err != nil && got != c.reason || err == nil && c.reason != "" {
				t.Fatalf("got %v", err)
			}
		})
	}
}

// recordsOf returns records with a central store.
func recordsOf(t *testing.T) catalog.Records {
	t.Helper()
	records := catalogtest.New()
	records.Put(catalog.StoreKey("central"), &storev1.Store{Id: "central", SiteId: "central"})
	return records
}
