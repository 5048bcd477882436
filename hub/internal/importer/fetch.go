package importer

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/importer/outside"
	"github.com/atoll-dcn/atoll/hub/internal/staging"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/retry"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Data is what a source brings.
type Data struct {
	io.ReadCloser       // reads end with the context it was opened with, and when the source is silent for too long
	Size          int64 // in bytes; 0 when the source does not say
	// Sum is what the source itself says of the data; only SHA-512 is compared.
	Sum image.Checksum
}

// Open opens a source. It blocks until ctx ends. The caller closes the data. Errors, also those of reads, are shown to users.
type Open func(ctx context.Context) (Data, error)

// Fetch starts an import from a URL. The source is asked before anything is created, so that an address that answers an
// error changes nothing. Otherwise it is like Enqueue.
func (im *Importer) Fetch(ctx context.Context, in catalog.Import) (*storev1.Operation, error) {
	if err := im.Outside.Check(in.URI); err != nil {
		return nil, err
	}
	if err := im.Catalog.CheckImport(in); err != nil {
		return nil, err
	}
	data, err := im.web(in.URI, in.Checksum)(ctx)
	if err != nil {
		return nil, err
	}
	_ = data.Close()
	in.SizeBytes = data.Size
	return im.Enqueue(ctx, in, nil)
}

// Enqueue starts an import from a source that is asked later, when it is its turn: a source that does not answer then
// fails the import. open, nil for the URL of the import, is forgotten when this process ends, and the import fails then; so
// does that of a URL with user, password or query, which are not kept.
// FETCH_QUEUE_FULL (Unavailable) when too many wait already. Nothing is kept for one that waits but its record.
func (im *Importer) Enqueue(ctx context.Context, in catalog.Import, open Open) (*storev1.Operation, error) {
	if open == nil {
		if err := im.Outside.Check(in.URI); err != nil {
			return nil, err
		}
		if kept := outside.Harmless(in.URI); kept != in.URI {
			open = im.web(in.URI, in.Checksum)
			in.URI, in.Secret = kept, true
		}
	}
	if err := im.Catalog.CheckImport(in); err != nil {
		return nil, err
	}
	select {
	case im.places <- struct{}{}:
	default:
		return nil, fault.New(fault.Unavailable, "FETCH_QUEUE_FULL", "%d imports wait for their turn already; try again later", im.Queue)
	}
	op, err := im.Catalog.BeginImport(ctx, im.inject(ctx, in))
	if err != nil {
		<-im.places
		return nil, err
	}
	im.jobs <- job{op: op, open: open} // never blocks: it has a place
	return op, nil
}

// job is one fetch.
type job struct {
	op   *storev1.Operation
	open Open // nil: the URL of the operation
}

// work carries out fetches, the old ones first, until ctx ends.
func (im *Importer) work(ctx context.Context, old <-chan job) {
	for j := range old {
		if ctx.Err() != nil {
			return
		}
		im.fetch(ctx, j)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case j := <-im.jobs:
			<-im.places
			im.fetch(ctx, j)
		}
	}
}

// fetch carries out one fetch. The content begins here: while a fetch waits for its turn nothing is there that a site
// could wait for. One that was interrupted begins again with a content of its own: the source may have changed, and the
// sites keep the chunks that are the same.
func (im *Importer) fetch(ctx context.Context, j job) {
	id := image.ID(j.op.Id)
	log := im.Log.With("image", j.op.ImageId, "operation", j.op.Id)
	sum, err := image.ParseChecksum("checksum", j.op.Source.GetChecksum())
	if err != nil {
		im.settle(ctx, outcome{op: id, err: err})
		return
	}
	content, w, err := im.start(ctx, id)
	if err != nil {
		log.Warn("fetch not started", "error", err)
		if ctx.Err() == nil && !fault.Is(err, fault.Precondition) {
			im.settle(ctx, outcome{op: id, err: err})
		}
		return
	}
	log.Info("fetch started")
	if j.open == nil {
		j.open = im.web(j.op.Source.GetUri(), sum)
	}
	body := &lazyBody{open: j.open, sized: func(ctx context.Context, n int64) error {
		if err := im.checkSize(n, 0, false); err != nil {
			return err
		}
		if err := im.Catalog.SetSizeHint(ctx, id, n); err != nil {
			log.Debug("size not recorded", "error", err)
		}
		return nil
	}}
	defer body.close()
	s := source{
		op: id, content: content, writer: w, sum: sum, told: func() image.Checksum { return body.Sum },
		open: func(ctx context.Context) io.Reader { body.ctx = ctx; return body },
	}
	if j.op.Source.GetUri() == "" || j.op.Source.Secret {
		s.lost = abandoned(j.op)
	}
	err = im.run(ctx, s)
	if err != nil {
		log.Warn("fetch failed", "error", err)
		return
	}
	log.Info("fetch complete")
}

// begins says how often the store of records is asked again before a fetch is given up at its start.
var begins = retry.Policy{Initial: 100 * time.Millisecond, Max: 5 * time.Second, Attempts: 10}

// start gives an import a new content.
func (im *Importer) start(ctx context.Context, op image.ID) (image.ID, *staging.Writer, error) {
	content := image.NewID()
	w, err := im.Area.Create(content)
	if err != nil {
		return "", nil, err
	}
	err = retry.Do(ctx, begins, func(ctx context.Context) error { return im.Catalog.RestartImport(ctx, op, content, "") }, nil)
	if err != nil {
		w.Abort(fault.Public(err))
		im.Area.Forget(content) // no record has ever named it
		return "", nil, err
	}
	return content, w, nil
}

// lazyBody opens its source at the first Read.
type lazyBody struct {
	Data
	ctx   context.Context
	open  Open
	sized func(context.Context, int64) error // told the size of the source, when it says; may refuse it
}

// Read reads from the source.
func (b *lazyBody) Read(p []byte) (int, error) {
	if b.ReadCloser == nil {
		data, err := b.open(b.ctx)
		if err != nil {
			return 0, err
		}
		if b.Data = data; data.Size > 0 {
			if err := b.sized(b.ctx, data.Size); err != nil {
				return 0, err
			}
		}
	}
	n, err := b.ReadCloser.Read(p)
	if _, ok := fault.As(err); err != nil && !errors.Is(err, io.EOF) && !ok {
		err = fault.Wrap(err, fault.Unavailable, "SOURCE_LOST", "the source stopped before all bytes had come")
	}
	return n, err
}

func (b *lazyBody) close() {
	if b.ReadCloser != nil {
		_ = b.ReadCloser.Close()
	}
}

// web returns the source behind a URL.
func (im *Importer) web(uri string, sum image.Checksum) Open {
	return func(ctx context.Context) (Data, error) {
		body, err := im.Outside.Open(ctx, outside.Request{URI: uri, Follow: true, Proven: sum.Algorithm != ""})
		if err != nil {
			return Data{}, err
		}
		return Data{ReadCloser: body, Size: body.Size()}, nil
	}
}
