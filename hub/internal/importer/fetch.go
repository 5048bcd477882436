package importer

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/importer/outside"
	"github.com/atoll-dcn/atoll/hub/internal/trust"
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

// admit checks what can be known of an import before it begins, and adds the properties that the image will get.
func (im *Importer) admit(ctx context.Context, in *catalog.Import) (treatment, trust.Check, error) {
	img, _ := im.Catalog.Read().Image(in.Image)
	t := im.treatment(img, in.KeepFormat)
	if err := im.checkConverter(t); err != nil {
		return t, nil, err
	}
	if t.convert {
		if err := im.Area.CheckTransient(in.SizeBytes); err != nil {
			return t, nil, err
		}
	}
	*in = im.inject(ctx, *in)
	check, err := im.prepare(ctx, in.Image)
	return t, check, err
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
	_, check, err := im.admit(ctx, &in)
	if err != nil {
		return nil, err
	}
	return im.enqueue(ctx, in, job{open: open, prepared: true, signature: check})
}

// enqueue creates the operation of an import and puts it into the queue.
func (im *Importer) enqueue(ctx context.Context, in catalog.Import, j job) (*storev1.Operation, error) {
	project := im.project(in.Image)
	if !im.jobs.reserve(project) {
		return nil, fault.New(fault.Unavailable, "FETCH_QUEUE_FULL", "too many imports wait for their turn already; try again later")
	}
	var err error
	if j.op, err = im.Catalog.BeginImport(ctx, in); err != nil {
		im.jobs.release(project)
		return nil, err
	}
	im.jobs.put(project, j)
	return j.op, nil
}

// project returns the project whose turn an import of the image takes.
func (im *Importer) project(id image.ID) string {
	img, _ := im.Catalog.Read().Image(id)
	return img.GetOwner()
}

// job is an import that needs no caller.
type job struct {
	op        *storev1.Operation
	open      Open        // nil: the URL of the operation
	prepared  bool        // signature is known; it is not for what an earlier life of the hub has begun
	signature trust.Check // nil: the data is not signed
}

// work carries out fetches until ctx ends.
func (im *Importer) work(ctx context.Context) {
	for {
		j, ok := im.jobs.take(ctx)
		if !ok {
			return
		}
		im.fetch(ctx, j)
	}
}

// fetch carries out one import. The content begins here: while a fetch waits for its turn nothing is there that a site
// could wait for. One that was interrupted begins again with a content of its own: the source may have changed, and the
// sites keep the chunks that are the same.
func (im *Importer) fetch(ctx context.Context, j job) {
	log := im.Log.With("image", j.op.ImageId, "operation", j.op.Id)
	s, err := im.start(ctx, j)
	if err != nil {
		log.Warn("import not started", "error", err)
		if ctx.Err() == nil { // else the next life of the hub begins again
			im.settle(ctx, outcome{op: image.ID(j.op.Id), err: err})
		}
		return
	}
	log.Info("import started")
	if j.op.Source.GetStaged() {
		data := &inOrder{}
		defer data.close()
		s.open = func(ctx context.Context) io.Reader { data.r = im.Area.Reader(ctx, s.staged); return data }
	} else {
		body := im.body(j, s)
		defer body.close()
		s.told = func() image.Checksum { return body.Sum }
		s.open = func(ctx context.Context) io.Reader { body.ctx = ctx; return body }
		if j.op.Source.GetUri() == "" || j.op.Source.Secret {
			s.lost = abandoned(j.op)
		}
	}
	if err = im.run(ctx, s); err != nil {
		log.Warn("import failed", "error", err)
		return
	}
	log.Info("all data has come")
}

// body returns the data of a fetch.
func (im *Importer) body(j job, s source) *lazyBody {
	if j.open == nil {
		j.open = im.web(j.op.Source.GetUri(), s.sum)
	}
	return &lazyBody{open: j.open, sized: func(ctx context.Context, n int64) error { return im.announced(ctx, s, n) }}
}

// announced notes how many bytes a source will bring.
func (im *Importer) announced(ctx context.Context, s source, n int64) error {
	im.mu.Lock()
	if a := im.incoming[s.op]; a != nil {
		a.expected.Store(n)
	}
	im.mu.Unlock()
	note := im.Catalog.SetSizeHint
	if s.treat.convert {
		note = im.Catalog.SetIncomingHint
		if err := im.Area.CheckTransient(n); err != nil {
			return err
		}
	} else if n > im.largest() {
		return tooLarge(im.largest())
	}
	if err := note(ctx, s.op, n); err != nil {
		im.Log.Debug("size not recorded", "operation", string(s.op), "error", err)
	}
	return nil
}

// begins says how often the store of records is asked again before a fetch is given up at its start.
var begins = retry.Policy{Initial: 100 * time.Millisecond, Max: 5 * time.Second, Attempts: 10}

// start gives an import a new content, and finds out how its data is treated.
func (im *Importer) start(ctx context.Context, j job) (source, error) {
	op := image.ID(j.op.Id)
	img, _ := im.Catalog.Read().Image(image.ID(j.op.ImageId))
	s := source{op: op, content: image.NewID(), describe: true, treat: im.treatment(img, j.op.Source.GetKeepFormat())}
	var err error
	if s.sum, err = image.ParseChecksum("checksum", j.op.Source.GetChecksum()); err != nil {
		return s, err
	}
	if s.signature = j.signature; !j.prepared {
		if s.signature, err = im.prepare(ctx, image.ID(j.op.ImageId)); err != nil {
			return s, err
		}
	}
	if s.treat.convert {
		s.incoming = image.NewID()
	}
	if j.op.Source.GetStaged() {
		if err := im.findStaged(&s, img); err != nil {
			return s, err
		}
	}
	if s.writer, err = im.Area.Create(s.content); err != nil {
		return s, err
	}
	err = retry.Do(ctx, begins, func(ctx context.Context) error { return im.Catalog.RestartImport(ctx, op, s.content, s.incoming) }, nil)
	if err != nil {
		s.writer.Abort(fault.Public(err))
		im.Area.Forget(s.content) // no record has ever named it
	}
	return s, err
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
