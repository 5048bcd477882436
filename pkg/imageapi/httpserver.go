package imageapi

import (
	"errors"
	"io"
	"log"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"
)

// The patience with clients. A body may take as long as it likes while it flows: at least flow bytes in each stall.
const (
	headerTimeout = 10 * time.Second // for the headers of a request, from its first byte
	idleTimeout   = 75 * time.Second // between two requests on a connection
	stall         = 60 * time.Second // without progress in a body, in either direction
	flow          = 4 << 10          // bytes that are progress
	leftover      = 5 * time.Second  // for what is left of a body that nobody reads
	writeSlice    = 64 << 10         // bytes written under one deadline
)

// NewHTTPServer returns a server for the handler that slow clients cannot hold up: headers have 10 s, an idle connection
// 75 s, and bodies may take as long as they need while at least 4 KiB (or their rest) come in, or 64 KiB go out, in each
// 60 s in which this side waits for the client. logger gets what the server itself has to say; nil: nobody does.
func NewHTTPServer(handler http.Handler, logger hclog.Logger) *http.Server {
	if logger == nil {
		logger = hclog.NewNullLogger()
	}
	return newHTTPServer(handler, logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}), stall)
}

func newHTTPServer(handler http.Handler, logger *log.Logger, patience time.Duration) *http.Server {
	return &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			control := http.NewResponseController(w)
			var body *flowBody
			if r.Body != nil && r.Body != http.NoBody {
				body = &flowBody{ReadCloser: r.Body, control: control, patience: patience, left: patience}
				// A copy: from the type of the body in its own request the server knows that one which the client was not
				// asked to send, or a large one, need not be read to its end before it answers.
				r = r.WithContext(r.Context())
				r.Body = body
			}
			out := &flowWriter{ResponseWriter: w, control: control, patience: patience, body: body}
			defer out.answer() // for what the server sends and reads after the handler
			handler.ServeHTTP(out, r)
		}),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    MaxHeader,
		ErrorLog:          logger,
	}
}

// flowBody is a request's body that ends with os.ErrDeadlineExceeded when the client stops sending. Only the time that
// is spent waiting for the client counts.
type flowBody struct {
	io.ReadCloser
	control  *http.ResponseController
	patience time.Duration
	left     time.Duration // until the next progress has to be made
	moved    int           // bytes since the last progress
	ended    bool          // nothing more will come
}

// Read reads from the body.
func (b *flowBody) Read(p []byte) (int, error) {
	begin := time.Now()
	_ = b.control.SetReadDeadline(begin.Add(max(b.left, 0)))
	n, err := b.ReadCloser.Read(p)
	b.ended = err != nil
	if errors.Is(err, io.EOF) {
		// The server goes on reading by itself after the body, to notice a client that leaves.
		_ = b.control.SetReadDeadline(time.Time{})
	}
	b.left -= time.Since(begin)
	if b.moved += n; b.moved >= flow {
		b.moved, b.left = 0, b.patience
	}
	return n, err
}

// flowWriter is an answer that fails when the client stops reading.
type flowWriter struct {
	http.ResponseWriter
	control  *http.ResponseController
	patience time.Duration
	body     *flowBody // nil: none
}

// Unwrap returns the writer below, for http.ResponseController.
func (w *flowWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *flowWriter) extend() { _ = w.control.SetWriteDeadline(time.Now().Add(w.patience)) }

// answer bounds what the server does to answer: it also reads what is left of the request's body, up to a limit.
func (w *flowWriter) answer() {
	w.extend()
	if w.body != nil && !w.body.ended {
		_ = w.control.SetReadDeadline(time.Now().Add(min(w.patience, leftover)))
	}
}

// WriteHeader begins the answer.
func (w *flowWriter) WriteHeader(code int) {
	w.answer()
	w.ResponseWriter.WriteHeader(code)
}

// Write sends a part of the body.
func (w *flowWriter) Write(p []byte) (int, error) {
	done := 0
	for {
		w.extend()
		piece := p[done:min(len(p), done+writeSlice)]
		n, err := w.ResponseWriter.Write(piece)
		if done += n; err != nil || done == len(p) {
			return done, err
		}
	}
}
