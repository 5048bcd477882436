// Package importer brings image data into the staging area, from callers and from URLs: it cuts it into chunks, hashes it
// once and tells the catalog when all of it is safe.
//
// Order of steps: the content exists in the staging area before any record names it; the record says complete only after
// the staging area has made every byte durable; only then is the caller told. A crash before that loses nothing that was
// acknowledged: an upload has failed and is undone, a fetch starts again.
package importer

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/staging"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/rpc"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Config is what an Importer needs.
type Config struct {
	Catalog *catalog.Catalog
	Area    *staging.Area
	Fetches int   // URLs fetched at the same time; default 4
	MaxSize int64 // longest image in bytes; default 16 TiB
	Log     hclog.Logger
}

// Importer runs imports. Run must be running.
type Importer struct {
	Config
	slots      chan struct{}
	queued     chan struct{}
	unfinished []*storev1.Operation // begun by an earlier life of the hub; for Run

	mu       sync.Mutex
	jobs     []job
	received map[image.ID]*atomic.Int64
}

// New returns an importer. Imports that are running already count as those of an earlier life of the hub, so call it
// before requests are served.
func New(c Config) *Importer {
	if c.Fetches == 0 {
		c.Fetches = 4
	}
	if c.MaxSize == 0 {
		c.MaxSize = 16 << 40
	}
	im := &Importer{
		Config: c, slots: make(chan struct{}, c.Fetches), queued: make(chan struct{}, 1),
		received: map[image.ID]*atomic.Int64{},
	}
	for _, op := range c.Catalog.Read().Operations() {
		if catalog.Importing(op) {
			im.unfinished = append(im.unfinished, op)
		}
	}
	return im
}

// Received returns how many bytes of a running import have come in; 0 for one that does not run here.
func (im *Importer) Received(op image.ID) int64 {
	im.mu.Lock()
	defer im.mu.Unlock()
	if n := im.received[op]; n != nil {
		return n.Load()
	}
	return 0
}

func (im *Importer) track(op image.ID) (n *atomic.Int64, done func()) {
	n = &atomic.Int64{}
	im.mu.Lock()
	im.received[op] = n
	im.mu.Unlock()
	return n, func() {
		im.mu.Lock()
		delete(im.received, op)
		im.mu.Unlock()
	}
}

// endTimeout bounds the record of how an import ended, which is made also when its caller is gone.
const endTimeout = 30 * time.Second

// source is what brings the bytes of one import.
type source struct {
	op      image.ID
	content image.ID
	writer  *staging.Writer
	open    func(ctx context.Context) io.Reader // ctx ends when the import is cancelled
	size    int64                               // expected; 0 when unknown
	// resumable: when this process stops, the next one begins again; nothing is undone.
	resumable bool
}

// run moves all bytes of a source into the staging area and completes the import. When it fails, the import is marked as
// failed, so that the reconciler undoes it. It stops as soon as the import is cancelled.
func (im *Importer) run(ctx context.Context, s source) error {
	parent := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		im.watch(ctx, s.op, cancel)
	}()
	defer func() {
		cancel(nil)
		<-watched
	}()
	received, done := im.track(s.op)
	defer done()
	content, err := im.ingest(ctx, s, received)
	if err == nil {
		if err = im.Catalog.CompleteSource(ctx, s.op, content); err == nil {
			return nil
		}
		if fault.Is(err, fault.Precondition) {
			im.Area.Forget(s.content)
		} // else the record may say complete in spite of the error: a content that no image names goes by itself
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	s.writer.Abort(fault.Public(err))
	if s.resumable && parent.Err() != nil {
		return err
	}
	end, stop := context.WithTimeout(context.WithoutCancel(parent), endTimeout)
	defer stop()
	if ferr := im.Catalog.FailSource(end, s.op, operationError(err)); ferr != nil && !fault.Is(ferr, fault.Precondition) {
		im.Log.Error("failed import not recorded", "operation", string(s.op), "error", ferr)
	}
	return err
}

// operationError is the record of an error.
func operationError(err error) *storev1.OperationError {
	return &storev1.OperationError{Code: int32(rpc.Code(fault.ClassOf(err))), Reason: fault.ReasonOf(err), Message: fault.Public(err)}
}

// watch cancels an import when its operation no longer wants the data.
func (im *Importer) watch(ctx context.Context, op image.ID, cancel context.CancelCauseFunc) {
	sub := im.Catalog.Subscribe()
	defer sub.Close()
	for {
		if o, _ := im.Catalog.Read().Operation(op); o == nil || !catalog.Importing(o) && !o.Source.GetComplete() {
			cancel(endedBy(o))
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-sub.C():
			sub.Take()
		}
	}
}

// endedBy says why an operation no longer wants the data of its source: a store that had to succeed has failed, or
// somebody has cancelled it.
func endedBy(o *storev1.Operation) error {
	if e := o.GetError(); e != nil {
		return fault.New(rpc.Class(uint32(e.Code)), e.Reason, "%s", e.Message)
	}
	return fault.New(fault.Cancelled, "IMPORT_CANCELLED", "the import has been cancelled")
}

// isEnd reports whether a stream has ended in order.
func isEnd(err error) bool { return errors.Is(err, io.EOF) }
