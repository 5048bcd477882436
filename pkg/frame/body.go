package frame

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// watchedBody ends a body in which the hub stays silent for too long, and classes its errors.
type watchedBody struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	idle   time.Duration
}

// Read reads from the body.
func (b *watchedBody) Read(p []byte) (int, error) {
	silent := time.AfterFunc(b.idle, func() {
		b.cancel(fault.New(fault.Unavailable, "HUB_SILENT", "the hub stopped sending"))
	})
	n, err := b.ReadCloser.Read(p)
	silent.Stop()
	if err != nil && !errors.Is(err, io.EOF) {
		err = transportFault(b.ctx, err)
	}
	return n, err
}

// Close releases the connection.
func (b *watchedBody) Close() error {
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}

// unended is a body that ends with a record, so that its own end comes too early.
type unended struct{ r io.Reader }

// Read reads from the body.
func (u unended) Read(p []byte) (int, error) {
	n, err := u.r.Read(p)
	if errors.Is(err, io.EOF) {
		err = fault.Wrap(io.ErrUnexpectedEOF, fault.Unavailable, "MANIFEST_CUT", "the manifest ended early")
	}
	return n, err
}
