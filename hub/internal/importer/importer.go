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
	"github.com/atoll-dcn/atoll/hub/internal/trust"
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
	Queue   int           // fetches that wait for their turn; default 1000; more are refused, and more than nine tenths of one project
	Uploads int           // callers whose data arrives at the same time, each with 16 MiB of buffers; default 128; a project has half
	MaxSize int64         // longest image in bytes, whatever the catalog's limits say; default 16 TiB
	Lenient bool          // accept data of another format than the image is said to have, and log it; unsafe data never
	Inject  *inject.Rules // properties of the operator; nil: none

	Packed      bool       // store compressed data as it comes
	Unconverted bool       // store disks of other formats than raw as they come
	Converter   Converter  // nil: qcow2 is the only format that can be made raw
	Conversions int        // disks that are made raw at the same time, each with 64 MiB of buffers; default 4; a project has half
	Holes       int64      // bytes of holes of a disk from which on it is hashed after the import; default 1 GiB
	Signatures  Signatures // nil: signatures are not looked at
	// DetectOS reads from a raw disk which system is on it; empty when that is not certain. nil: nobody looks.
	DetectOS func(ctx context.Context, disk io.ReaderAt, size int64) (distro, version string)

	Now func() time.Time // default time.Now
	Log hclog.Logger
}

// Importer runs imports. Run must be running.
type Importer struct {
	Config
	jobs       *queue               // fetches that wait
	uploads    *berth.Berths        // bounds callers whose data arrives
	converting *berth.Berths        // bounds disks that are made raw
	unfinished []*storev1.Operation // begun by an earlier life of the hub; for Run
	lost       chan outcome         // ends of imports that could not be recorded; for Run
	patience   time.Duration        // hashPatience

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
	if c.Conversions == 0 {
		c.Conversions = 4
	}
	if c.Holes == 0 {
		c.Holes = 1 << 30
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	im := &Importer{
		Config: c, jobs: newQueue(c.Queue), lost: make(chan outcome, lostBacklog),
		incoming: map[image.ID]*arrival{}, uploads: berth.New(c.Uploads, c.Uploads/2),
		converting: berth.New(c.Conversions, c.Conversions/2), patience: hashPatience,
	}
	im.quiet = sync.NewCond(&im.mu)
	for _, op := range c.Catalog.Read().Operations() {
		if catalog.Importing(op) {
			im.unfinished = append(im.unfinished, op)
		}
	}
	return im
}

// Run carries out fetches, also those that an earlier life of the hub left unfinished, until ctx ends, and records what could
// not be recorded at once. Uploads that such a life left unfinished have lost their caller: they are undone. It returns when
// nothing of the importer runs any more, so the servers must be stopping too.
func (im *Importer) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, op := range im.unfinished {
		if op.Source.GetStaged() || op.Source.GetUri() != "" && !op.Source.Secret {
			im.jobs.restore(im.project(image.ID(op.ImageId)), job{op: op})
		} else {
			im.settleLater(outcome{op: image.ID(op.Id), err: abandoned(op)})
		}
	}
	im.unfinished = nil
	for range im.Fetches {
		wg.Go(func() { im.work(ctx) })
	}
	wg.Go(func() { im.settleLost(ctx) })
	wg.Go(func() { im.hash(ctx) })
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
	op        image.ID
	content   image.ID
	writer    *staging.Writer
	incoming  image.ID // name for the content of data that is converted
	staged    image.ID // complete content that is the source; empty: another one
	treat     treatment
	stage     bool                                // the data waits for an import
	describe  bool                                // what is found in the data becomes known as properties
	signature trust.Check                         // nil: the data is not signed
	open      func(ctx context.Context) io.Reader // ctx ends when the import is cancelled
	size      int64                               // expected; 0 when unknown
	sum       image.Checksum                      // that was asked for
	told      func() image.Checksum               // what the source itself says of its data, once it is open; nil for nothing
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
	a, done := im.track(s.op, s.size)
	arrived, err := im.ingest(ctx, cancel, s, a)
	close(ingested)
	if err == nil {
		err = im.complete(ctx, s, arrived)
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
