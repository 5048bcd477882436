package importer

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/staging"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

const (
	maxURI        = 2048
	maxRedirects  = 5
	headerTimeout = 30 * time.Second
	stallTimeout  = 2 * time.Minute // longest silence of a source
)

// Fetch starts an import from a URL. The source is asked before anything is created, so that an address that answers an
// error changes nothing.
func (im *Importer) Fetch(ctx context.Context, in catalog.Import) (*storev1.Operation, error) {
	if err := checkURI(in.URI); err != nil {
		return nil, err
	}
	if err := im.Catalog.CheckImport(in); err != nil {
		return nil, err
	}
	size, err := probe(ctx, in.URI)
	if err != nil {
		return nil, err
	}
	in.SizeBytes = size
	op, w, err := im.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	im.enqueue(job{op: op, writer: w})
	return op, nil
}

func checkURI(uri string) error {
	u, err := url.Parse(uri)
	switch {
	case uri == "" || len(uri) > maxURI || err != nil:
		return fault.BadField("uri", "must be an http or https URL of at most %d characters", maxURI)
	case u.Scheme != "http" && u.Scheme != "https":
		return fault.BadField("uri", "scheme %q is not supported; use http or https", u.Scheme)
	case u.Host == "":
		return fault.BadField("uri", "has no host")
	}
	return nil
}

// client fetches sources: no proxy from the environment, a bounded number of redirects, no transparent decompression,
// because the bytes of the image are what the source stores.
var client = &http.Client{
	Transport: &http.Transport{
		DialContext:           (&net.Dialer{Timeout: headerTimeout}).DialContext,
		TLSHandshakeTimeout:   headerTimeout,
		ResponseHeaderTimeout: headerTimeout,
		DisableCompression:    true,
		MaxIdleConnsPerHost:   1,
		IdleConnTimeout:       time.Minute,
	},
	CheckRedirect: func(req *http.Request, via []*http.Request) error {
		if len(via) > maxRedirects {
			return errors.New("too many redirects")
		}
		return checkURI(req.URL.String())
	},
}

// get opens a source. The caller closes the body.
func get(ctx context.Context, uri string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, http.NoBody)
	if err != nil {
		return nil, fault.BadField("uri", "is not a URL that can be fetched")
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fault.Wrap(err, fault.Precondition, "SOURCE_UNREACHABLE", "uri: the source cannot be reached")
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return nil, fault.BadField("uri", "the source answered %s; 200 OK is needed", resp.Status)
	}
	if resp.ContentLength == 0 {
		_ = resp.Body.Close()
		return nil, fault.BadField("uri", "the source is empty")
	}
	return resp, nil
}

// probe asks the source for its length, 0 when it does not say, and so finds out whether it answers at all.
func probe(ctx context.Context, uri string) (int64, error) {
	resp, err := get(ctx, uri)
	if err != nil {
		return 0, err
	}
	_ = resp.Body.Close()
	return max(resp.ContentLength, 0), nil
}

// begin creates the content and then the operation of an import.
func (im *Importer) begin(ctx context.Context, in catalog.Import) (*storev1.Operation, *staging.Writer, error) {
	if err := im.Catalog.CheckImport(in); err != nil {
		return nil, nil, err
	}
	in.Content = image.NewID()
	w, err := im.Area.Create(in.Content)
	if err != nil {
		return nil, nil, err
	}
	op, err := im.Catalog.BeginImport(ctx, in)
	if err != nil {
		w.Abort("the import was refused")
		return nil, nil, err
	}
	return op, w, nil
}

// job is one fetch. writer is nil when an earlier life of the hub began it.
type job struct {
	op     *storev1.Operation
	writer *staging.Writer
}

// enqueue hands a fetch to Run. It does not block.
func (im *Importer) enqueue(j job) {
	im.mu.Lock()
	im.jobs = append(im.jobs, j)
	im.mu.Unlock()
	select {
	case im.queued <- struct{}{}:
	default:
	}
}

func (im *Importer) takeJobs() []job {
	im.mu.Lock()
	defer im.mu.Unlock()
	jobs := im.jobs
	im.jobs = nil
	return jobs
}

// Run carries out fetches, those that an earlier life of the hub left unfinished first, until ctx ends. Uploads that such
// a life left unfinished have lost their caller: they are undone.
func (im *Importer) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, op := range im.unfinished {
		if op.Source.GetUri() != "" {
			im.enqueue(job{op: op})
		} else {
			im.abandon(ctx, op)
		}
	}
	im.unfinished = nil
	for {
		for _, j := range im.takeJobs() {
			wg.Go(func() {
				select {
				case im.slots <- struct{}{}:
					defer func() { <-im.slots }()
					im.fetch(ctx, j)
				case <-ctx.Done():
				}
			})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-im.queued:
		}
	}
}

// abandon fails an upload whose caller is gone.
func (im *Importer) abandon(ctx context.Context, op *storev1.Operation) {
	lost := fault.New(fault.Unavailable, "UPLOAD_INTERRUPTED", "the hub was restarted during the upload; upload the image again")
	if err := im.Catalog.FailSource(ctx, image.ID(op.Id), operationError(lost)); err != nil && !fault.Is(err, fault.Precondition) {
		im.Log.Error("interrupted upload not recorded", "operation", op.Id, "error", err)
	}
}

// fetch carries out one fetch. One that was interrupted begins again with a content of its own: the source may have
// changed, and the sites keep the chunks that are the same.
func (im *Importer) fetch(ctx context.Context, j job) {
	id := image.ID(j.op.Id)
	log := im.Log.With("image", j.op.ImageId, "operation", j.op.Id)
	content := image.ID(j.op.Source.ContentId)
	if j.writer == nil {
		var err error
		if content, j.writer, err = im.restart(ctx, id); err != nil {
			log.Warn("interrupted fetch not started again", "error", err)
			return
		}
	}
	log.Info("fetch started")
	body := &lazyBody{uri: j.op.Source.GetUri()}
	defer body.close()
	err := im.run(ctx, source{op: id, content: content, writer: j.writer, resumable: true, open: func(ctx context.Context) io.Reader {
		body.ctx = ctx
		return body
	}})
	if err != nil {
		log.Warn("fetch failed", "error", err)
		return
	}
	log.Info("fetch complete")
}

// restart gives an interrupted import a new content.
func (im *Importer) restart(ctx context.Context, op image.ID) (image.ID, *staging.Writer, error) {
	content := image.NewID()
	w, err := im.Area.Create(content)
	if err != nil {
		return "", nil, err
	}
	if err := im.Catalog.RestartImport(ctx, op, content); err != nil {
		w.Abort(fault.Public(err))
		return "", nil, err
	}
	return content, w, nil
}

// lazyBody opens its source at the first Read and fails when the source is silent for too long or ends early.
type lazyBody struct {
	ctx    context.Context
	uri    string
	resp   *http.Response
	cancel context.CancelFunc
	stall  *time.Timer
}

func (b *lazyBody) Read(p []byte) (int, error) {
	if b.resp == nil {
		ctx, cancel := context.WithCancel(b.ctx)
		resp, err := get(ctx, b.uri)
		if err != nil {
			cancel()
			return 0, err
		}
		b.resp, b.cancel = resp, cancel
		b.stall = time.AfterFunc(stallTimeout, cancel)
	}
	b.stall.Reset(stallTimeout)
	n, err := b.resp.Body.Read(p)
	b.stall.Stop() // the source does not answer for the time in which nobody reads: the staging area may be full
	if err != nil && !errors.Is(err, io.EOF) {
		err = fault.Wrap(err, fault.Unavailable, "SOURCE_LOST", "the source stopped before all bytes had come")
	}
	return n, err
}

func (b *lazyBody) close() {
	if b.resp != nil {
		b.stall.Stop()
		b.cancel()
		_ = b.resp.Body.Close()
	}
}
