//go:build cgo

package cephrbd

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	librbd "github.com/ceph/go-ceph/rbd"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// handle is an open image or snapshot with the calls that use it. It is closed for the library when Close was called and
// the last of those calls has ended.
type handle struct {
	p       *Pool
	session *session // held until the handle is gone
	img     *librbd.Image
	size    atomic.Int64
	frozen  atomic.Bool // the image has a snapshot, as far as this handle knows

	snapshot bool    // it is a snapshot's
	objects  objects // for the sums

	mu     sync.Mutex
	users  int
	closed bool
	gone   chan struct{} // closed when the library has closed it
	err    error         // of that; read after gone
}

// newHandle takes over an open image or snapshot; it closes it when it fails.
func (p *Pool) newHandle(s *session, img *librbd.Image, snapshot bool) (*handle, error) {
	size, err := img.GetSize()
	if err != nil {
		return nil, errors.Join(err, img.Close())
	}
	p.retain(s)
	h := &handle{p: p, session: s, img: img, snapshot: snapshot, gone: make(chan struct{})}
	h.size.Store(int64(size))
	return h, nil
}

// closeLate closes a handle that nobody took because its opener had given up.
func closeLate(h *handle) {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.shut()
}

// use runs a library call on the handle in a slot and classifies its error.
func use[T any](ctx context.Context, h *handle, operation string, limit time.Duration, f func(*librbd.Image) (T, error), late func(T)) (T, error) {
	return run(ctx, h.p.calls, operation, limit, h.enter, func() (T, error) {
		v, err := f(h.img)
		return v, h.p.examine(h.session, operation, err)
	}, late)
}

// useOnly is use without a result.
func useOnly(ctx context.Context, h *handle, operation string, limit time.Duration, f func(*librbd.Image) error) error {
	_, err := use(ctx, h, operation, limit, func(img *librbd.Image) (nothing, error) { return nothing{}, f(img) }, nil)
	return err
}

// enter adds a user. The last one to leave a closed handle closes it for the library.
func (h *handle) enter() (leave func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, closed("image")
	}
	h.users++
	return h.leave, nil
}

func (h *handle) leave() {
	h.mu.Lock()
	h.users--
	last := h.closed && h.users == 0
	h.mu.Unlock()
	if last {
		h.shut()
	}
}

// shut closes the library's handle; it is called once, with no users left.
func (h *handle) shut() {
	h.objects.close()
	h.err = classify("close", h.img.Close())
	h.p.release(h.session)
	close(h.gone)
}

// Close waits a few seconds for abandoned calls and for the library; after that they finish in the background.
func (h *handle) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	idle := h.users == 0
	h.mu.Unlock()
	if idle {
		h.p.calls.begin("close", h.p.limit(), h.shut)
	}
	timer := time.NewTimer(h.p.config.CloseTimeout)
	defer timer.Stop()
	select {
	case <-h.gone:
		return h.err
	case <-timer.C:
		return fault.New(fault.Unavailable, "STORE_UNREACHABLE", "the Ceph cluster does not answer; the image is closed later")
	}
}
