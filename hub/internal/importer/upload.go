package importer

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Ways in which the Image API brings data in, as operations name them.
const (
	MethodUpload         = "upload"
	MethodStage          = "stage"
	MethodGlanceDirect   = "glance-direct"
	MethodWebDownload    = "web-download"
	MethodGlanceDownload = "glance-download"
	MethodCopyImage      = "copy-image"
)

// Body is the data of a request, read while it is stored.
type Body interface {
	// Read returns io.EOF only when all data has come.
	io.Reader
	// Interrupt makes a Read return soon that waits for the caller. It may be called at any time and again.
	Interrupt()
}

// Upload reads the data of an import from next until it returns io.EOF. It returns the operation once all bytes are
// durable in the staging area; by then the stores may be filling or done. When ctx ends, next fails or the import is
// cancelled it is undone; Upload then returns at once, also while next waits, which is left to end with the request.
func (im *Importer) Upload(ctx context.Context, in catalog.Import, next func() ([]byte, error)) (*storev1.Operation, error) {
	return im.take(ctx, in, im.Catalog.BeginImport, source{
		describe: true, open: func(ctx context.Context) io.Reader { return im.follow(ctx, next) },
	})
}

// Store is Upload with the data of an HTTP request, which is stored as it comes: the Image API promises that.
func (im *Importer) Store(ctx context.Context, in catalog.Import, body Body) (*storev1.Operation, error) {
	in.KeepFormat = true
	return im.take(ctx, in, im.Catalog.BeginImport, source{
		open: func(context.Context) io.Reader { return body }, interrupt: body.Interrupt,
	})
}

// Stage reads the data of an image into the staging area, where it waits for an import. It returns once all bytes are
// durable there. When ctx ends, body fails or the stage is cancelled it is undone, and the image is queued again.
func (im *Importer) Stage(ctx context.Context, in catalog.Import, body Body) (*storev1.Operation, error) {
	return im.take(ctx, in, im.Catalog.BeginStage, source{
		stage: true, describe: true, open: func(context.Context) io.Reader { return body }, interrupt: body.Interrupt,
	})
}

// begin is the catalog's record that data arrives.
type begin func(context.Context, catalog.Import) (*storev1.Operation, error)

// take creates the content, then the operation, and stores the data of a caller.
func (im *Importer) take(ctx context.Context, in catalog.Import, begin begin, s source) (*storev1.Operation, error) {
	give, err := im.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer give()
	op, err := im.create(ctx, in, begin, &s)
	if err != nil {
		return nil, err
	}
	log := im.Log.With("image", op.ImageId, "operation", op.Id)
	log.Info("upload started", "bytes", in.SizeBytes)
	s.op, s.size = image.ID(op.Id), in.SizeBytes
	s.lost = fault.New(fault.Cancelled, "CALLER_LOST", "the caller went away before all data had come")
	if err := im.run(ctx, s); err != nil {
		log.Warn("upload failed", "error", err)
		return nil, err
	}
	log.Info("upload complete")
	if now, _ := im.Catalog.Read().Operation(s.op); now != nil {
		op = now
	}
	return op, nil
}

// turnWait bounds how long an upload waits for its turn.
const turnWait = time.Minute

// turn waits until the data of one more caller may arrive.
func (im *Importer) turn(ctx context.Context) (give func(), err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, turnWait, fault.New(fault.Unavailable, "TOO_MANY_UPLOADS",
		"%d uploads are running, or %d of your project; try again later", im.Uploads, im.Uploads/2))
	defer cancel()
	var project string
	if c := auth.From(ctx); c != nil {
		project = c.ProjectID
	}
	return im.uploads.Take(ctx, project)
}

// create creates the content and then the operation.
func (im *Importer) create(ctx context.Context, in catalog.Import, begin begin, s *source) (*storev1.Operation, error) {
	if err := im.receive(ctx, &in, s); err != nil {
		return nil, err
	}
	s.content = image.NewID()
	in.Content, in.Incoming = s.content, s.incoming
	create := im.Area.Create
	if s.stage {
		create = im.Area.CreateWaiting
	}
	w, err := create(in.Content)
	if err != nil {
		return nil, err
	}
	op, err := begin(ctx, in)
	if err != nil {
		w.Abort("the request was refused")
		im.Area.Forget(in.Content) // no record has ever named it
		return nil, err
	}
	s.writer = w
	return op, nil
}

// receive finds out how the data of a caller is treated.
func (im *Importer) receive(ctx context.Context, in *catalog.Import, s *source) error {
	img, _ := im.Catalog.Read().Image(in.Image)
	var err error
	switch {
	case s.stage: // looked at now, so that what is wrong is known early; all else is up to the import
		s.treat = im.treatment(img, false)
		s.treat.convert = false
		return nil
	case in.KeepFormat:
		s.treat = im.treatment(img, true)
		s.signature, err = im.prepare(ctx, in.Image)
		return err
	}
	if s.treat, s.signature, err = im.admit(ctx, in); err == nil && s.treat.convert {
		s.incoming = image.NewID()
	}
	return err
}

// message is one message of a caller, or why there are no more.
type message struct {
	data []byte
	err  error
}

// messages is an io.Reader over the messages of a caller.
type messages struct {
	ctx  context.Context
	next <-chan message
	rest []byte
}

// follow returns a reader of what next yields. Waiting for a silent caller cannot be broken off before the handler of
// the request has returned, so a goroutine waits; Run waits for it at the end.
func (im *Importer) follow(ctx context.Context, next func() ([]byte, error)) io.Reader {
	ch := make(chan message)
	im.mu.Lock()
	im.reading++
	im.mu.Unlock()
	go func() {
		defer im.readingDone()
		for {
			b, err := next()
			select {
			case ch <- message{b, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return &messages{ctx: ctx, next: ch}
}

func (im *Importer) readingDone() {
	im.mu.Lock()
	defer im.mu.Unlock()
	if im.reading--; im.reading == 0 {
		im.quiet.Broadcast()
	}
}

// Read returns io.EOF when the caller has ended its messages in order.
func (m *messages) Read(p []byte) (int, error) {
	for len(m.rest) == 0 {
		select {
		case <-m.ctx.Done():
			return 0, context.Cause(m.ctx)
		case msg := <-m.next:
			if errors.Is(msg.err, io.EOF) {
				return 0, io.EOF
			}
			if msg.err != nil {
				return 0, msg.err
			}
			m.rest = msg.data
		}
	}
	n := copy(p, m.rest)
	m.rest = m.rest[n:]
	return n, nil
}
