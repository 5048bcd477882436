package frame

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

const manifestType = "application/vnd.atoll.manifest"

// Manifests takes in the manifests of copies that sites hold. Its errors are fault errors.
type Manifests interface {
	// Expect says whether the caller may send the manifest of a content, and what is known of it: the length, always, and
	// the root digest, zero when any will do. It does not block.
	Expect(ctx context.Context, content image.ID) (manifest.End, error)
	// Adopt stores a checked manifest as that of a complete content. When it returns nil the manifest survives the loss
	// of power.
	Adopt(ctx context.Context, content image.ID, m *manifest.Manifest) error
}

// putManifest takes in the manifest of a content that a site holds.
func (h *handler) putManifest(w http.ResponseWriter, r *http.Request, content image.ID) error {
	if h.o.Manifests == nil {
		return fault.New(fault.Denied, "NOT_AWAITED", "no manifest is awaited here")
	}
	want, err := h.o.Manifests.Expect(r.Context(), content)
	if err != nil {
		return err
	}
	select {
	case h.manifests <- struct{}{}:
		defer func() { <-h.manifests }()
	case <-r.Context().Done():
		return r.Context().Err()
	}
	limited := http.MaxBytesReader(w, r.Body, manifest.MaxEncoded(want.Length))
	body := &patient{r: limited, control: http.NewResponseController(w), stall: h.o.Stall}
	m, root, err := manifest.ReadSized(body, want.Length, Sum)
	switch {
	case errors.As(body.err, new(*http.MaxBytesError)):
		return fault.Wrap(body.err, fault.Invalid, "MANIFEST_TOO_LONG", "the manifest is longer than that of such a content can be")
	case body.err != nil:
		return fault.Wrap(body.err, fault.Unavailable, "MANIFEST_CUT", "the manifest ended early")
	case err != nil:
		if _, classed := fault.As(err); !classed {
			err = fault.Wrap(err, fault.Unavailable, "MANIFEST_CUT", "the manifest ended early")
		}
		return err
	case want.Root != manifest.Digest{} && root != want.Root:
		return fault.New(fault.Corrupt, "BAD_MANIFEST", "manifest: it is not the one that is awaited")
	}
	if err := h.o.Manifests.Adopt(r.Context(), content, m); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// patient reads a body whose sender may pause, but not for longer than stall.
type patient struct {
	r       io.Reader
	control *http.ResponseController
	stall   time.Duration
	err     error // of the connection
}

// Read reads from the body.
func (p *patient) Read(b []byte) (int, error) {
	_ = p.control.SetReadDeadline(time.Now().Add(p.stall))
	n, err := p.r.Read(b)
	if err != nil && err != io.EOF { //nolint:errorlint // a body returns io.EOF itself
		p.err = err
	}
	return n, err
}

// PutManifest sends the manifest of a copy that the site holds to the hub, which must have asked for it. It succeeds when
// the hub has the same manifest already. Denied means that the hub does not await it (any more), Unavailable that it does
// not yet, Corrupt that it is not the one it awaits.
func (c *Client) PutManifest(ctx context.Context, content image.ID, m *manifest.Manifest) error {
	if err := m.Check(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, c.url(content, "manifest"), nil)
	if err != nil {
		return err
	}
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(newManifestBody(m)), nil }
	req.Body, _ = req.GetBody()
	req.ContentLength = -1
	req.Header.Set("Content-Type", manifestType)
	resp, err := c.http.Do(req)
	if err != nil {
		return transportFault(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode/100 != 2 {
		return readFault(resp)
	}
	return nil
}

// manifestBody encodes a manifest piece by piece as it is read.
type manifestBody struct {
	m    *manifest.Manifest
	enc  *manifest.Encoder
	buf  bytes.Buffer
	next int
	done bool
}

func newManifestBody(m *manifest.Manifest) *manifestBody {
	b := &manifestBody{m: m}
	b.enc = manifest.NewEncoder(&b.buf, 0)
	return b
}

// Read returns the next bytes of the encoded manifest.
func (b *manifestBody) Read(p []byte) (int, error) {
	const step = 1024 // chunks encoded at once
	for b.buf.Len() == 0 && !b.done {
		for end := min(b.next+step, len(b.m.Chunks)); b.next < end; b.next++ {
			if err := b.enc.Append(b.m.Chunks[b.next]); err != nil {
				return 0, err
			}
		}
		if b.next == len(b.m.Chunks) {
			b.done = true
			if err := b.enc.End(manifest.End{Length: b.m.Length, Root: b.m.Root(Sum)}); err != nil {
				return 0, err
			}
		}
	}
	return b.buf.Read(p)
}
