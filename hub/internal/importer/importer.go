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
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/importer/inject"
	"github.com/atoll-dcn/atoll/hub/internal/importer/outside"
	"github.com/atoll-dcn/atoll/hub/internal/staging"
	"github.com/atoll-dcn/atoll/pkg/berth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/rpc"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Config is what an Importer needs.
type Config struct {
	Catalog *catalog.Catalog
	Outside *outside.Client // fetches URLs
	Area    *staging.Area
	Fetches int           // URLs fetched at the same time; default 4
	Queue   int           // fetches that wait for their turn; default 1000; more are refused
	Uploads int           // callers whose data arrives at the same time, each with 16 MiB of buffers; default 128; a project has half
	MaxSize int64         // longest image in bytes, whatever the catalog's limits say; default 16 TiB
	Lenient bool          // accept data of another format than the image is said to have, and log it; unsafe data never
	Inject  *inject.Rules // properties of the operator; nil: none
	Log     hclog.Logger
}

// Importer runs imports. Run must be running.
type Importer struct {
	Config
	jobs       chan job             // fetches that wait, each holding one of the places
	places     chan struct{}        // bounds jobs
	uploads    *berth.Berths        // bounds callers whose data arrives
	unfinished []*storev1.Operation // begun by an earlier life of the hub; for Run
	lost       chan outcome         // ends of imports that could not be recorded; for Run

	mu       sync.Mutex
	incoming map[image.ID]*arrival
	reading  int        // goroutines that wait for messages of callers
	quiet    *sync.Cond // reading has become 0
}

// New returns an importer. Imports that are running already count as those of an earlier life of the hub, so call it
// before requests are served.
func New(c Config) *Importer {
	if c.Fetches == 0 {
		c.Fetches = 4
	}
	if c.Queue == 0 {
		c.Queue = 1000
	}
	if c.Uploads == 0 {
		c.Uploads = 128
	}
	if c.MaxSize == 0 {
		c.MaxSize = 16 << 40
	}
	im := &Importer{
		Config: c, jobs: make(chan job, c.Queue), places: make(chan struct{}, c.Queue), lost: make(chan outcome, lostBacklog),
		incoming: map[image.ID]*arrival{}, uploads: berth.New(c.Uploads, c.Uploads/2),
	}
	im.quiet = sync.NewCond(&im.mu)
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
	if a := im.incoming[op]; a != nil {
		return a.received.Load()
	}
	return 0
}

// Run carries out fetches, those that an earlier life of the hub left unfinished first, until ctx ends, and records what
// could not be recorded at once. Uploads that such a life left unfinished have lost their caller: they are undone. It
// returns when nothing of the importer runs any more, so the servers must be stopping too.
func (im *Importer) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	old := make(chan job, len(im.unfinished))
	for _, op := range im.unfinished {
		if op.Source.GetUri() != "" && !op.Source.Secret {
			old <- job{op: op}
		} else {
			im.settleLater(outcome{op: image.ID(op.Id), err: abandoned(op)})
		}
	}
	close(old)
	im.unfinished = nil
	for range im.Fetches {
		wg.Go(func() { im.work(ctx, old) })
	}
	wg.Go(func() { im.settleLost(ctx) })
	wg.Wait()
	im.mu.Lock()
	defer im.mu.Unlock()
	for im.reading > 0 {
		im.quiet.Wait()
	}
	return nil
}

// abandoned says why an import came to nothing whose bytes only the process that is gone could get.
func abandoned(op *storev1.Operation) error {
	switch {
	case op.Source.GetSecret():
		return fault.New(fault.Unavailable, "IMPORT_INTERRUPTED",
			"the hub was restarted during the download, and does not keep user, password and query of URLs; import the image again")
	case op.Method == MethodGlanceDownload:
		return fault.New(fault.Unavailable, "IMPORT_INTERRUPTED", "the hub was restarted during the download; import the image again")
	}
	return fault.New(fault.Unavailable, "UPLOAD_INTERRUPTED", "the hub was restarted during the upload; upload the image again")
}

// source is what brings the bytes of one import.
type source struct {
	op      image.ID
	content image.ID
	writer  *staging.Writer
	open    func(ctx context.Context) io.Reader // ctx ends when the import is cancelled
	size    int64                               // expected; 0 when unknown
	sum     image.Checksum                      // that was asked for
	told    func() image.Checksum               // SHA-512 that the source itself tells of its data, at the end; nil for none
	// interrupt makes a Read return that waits for a silent source; nil when the end of open's ctx does that.
	interrupt func()
	// lost says why the data is incomplete when the context of the import has ended; nil: the next life of the hub begins
	// again, and nothing is undone.
	lost error
}

// run moves all bytes of a source into the staging area and completes the import. When it fails, the import is marked as
// failed, so that the reconciler undoes it. It stops as soon as the import is cancelled.
func (im *Importer) run(ctx context.Context, s source) error {
	parent := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	ingested, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		im.watch(ctx, s.op, cancel)
		interrupt(s.interrupt, ingested)
	}()
	a, done := im.track(s.op)
	content, err := im.ingest(ctx, s, a)
	close(ingested)
	if err == nil {
		err = im.complete(ctx, s, content)
	}
	done()
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	cancel(nil)
	<-watched
	if err == nil {
		return nil
	}
	if s.lost != nil && parent.Err() != nil && errors.Is(err, context.Cause(parent)) {
		err = s.lost
	}
	s.writer.Abort(fault.Public(err))
	if parent.Err() == nil || s.lost != nil {
		im.settle(context.WithoutCancel(parent), outcome{op: s.op, err: err})
	}
	return err
}

// nudge is the time between two attempts to interrupt a Read: it may have begun just after the first one.
const nudge = 50 * time.Millisecond

// interrupt makes whoever waits for a silent source return, until done.
func interrupt(f func(), done <-chan struct{}) {
	select {
	case <-done:
		return
	default:
	}
	if f == nil {
		return
	}
	tick := time.NewTicker(nudge)
	defer tick.Stop()
	for {
		f()
		select {
		case <-done:
			return
		case <-tick.C:
		}
	}
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
