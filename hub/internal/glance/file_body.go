package glance

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
)

// body is the body of a request as the importer reads it.
type body struct {
	from  io.Reader
	conn  *http.ResponseController
	ended bool
}

func newBody(w http.ResponseWriter, r *http.Request) *body {
	return &body{from: r.Body, conn: http.NewResponseController(w)}
}

// leave says that nobody reads the rest of the body, so that the answer need not wait for it.
func (b *body) leave(w http.ResponseWriter) {
	if !b.ended {
		w.Header().Set("Connection", "close")
	}
}

// Read returns io.EOF only when all of the body has come.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	switch {
	case err == nil:
		return n, nil
	case err == io.EOF: //nolint:errorlint // anything around an EOF tells of a body that was cut
		b.ended = true
		return n, io.EOF
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fault.Wrap(err, fault.Invalid, "UPLOAD_SLOW", "the data did not arrive in time")
		return n, imageapi.Status(err, http.StatusRequestTimeout)
	default:
		return n, fault.Wrap(err, fault.Invalid, "UPLOAD_CUT", "the data ended before all of it had come")
	}
}

// Interrupt ends a Read that waits for the client. The connection cannot be used again after that.
func (b *body) Interrupt() { _ = b.conn.SetReadDeadline(time.Unix(1, 0)) }
