package frame

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// manifest streams the manifest of a content, also while it grows.
func (h *handler) manifest(w http.ResponseWriter, r *http.Request, content image.ID) error {
	next, err := parseNumber("from", r.URL.Query().Get("from"), 0, manifest.MaxChunks)
	if err != nil {
		return err
	}
	// The first look decides the status; whatever happens later ends the stream.
	digests, end, err := h.follow(r.Context(), content, next)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", manifestType)
	control := http.NewResponseController(w)
	buf := bufio.NewWriterSize(w, 32<<10)
	enc := manifest.NewEncoder(buf, next)
	for {
		_ = control.SetWriteDeadline(time.Now().Add(h.o.Stall))
		if err := errors.Join(describe(enc, digests, end), buf.Flush(), control.Flush()); err != nil {
			panic(http.ErrAbortHandler)
		}
		if end != nil {
			return nil
		}
		next += len(digests)
		digests, end, err = h.follow(r.Context(), content, next)
		switch {
		case err == nil:
		case fault.ReasonOf(err) == manifest.ReasonGone:
			_ = errors.Join(enc.Gone(), buf.Flush())
			return nil
		default:
			panic(http.ErrAbortHandler)
		}
	}
}

// follow is Store.Follow that gives up with nothing when a keep-alive is due.
func (h *handler) follow(ctx context.Context, content image.ID, from int) ([]manifest.Digest, *manifest.End, error) {
	patient, cancel := context.WithTimeout(ctx, h.o.KeepAlive)
	defer cancel()
	digests, end, err := h.store.Follow(patient, content, from)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil, nil, nil
	}
	return digests, end, err
}

// describe writes what is new: chunks, the end, or that there is nothing.
func describe(enc *manifest.Encoder, digests []manifest.Digest, end *manifest.End) error {
	for _, d := range digests {
		if err := enc.Append(d); err != nil {
			return err
		}
	}
	switch {
	case end != nil:
		return enc.End(*end)
	case len(digests) == 0:
		return enc.KeepAlive()
	default:
		return enc.Flush()
	}
}
