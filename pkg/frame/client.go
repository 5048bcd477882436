package frame

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/atoll-dcn/atoll/pkg/delta"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// Client fetches manifests and frames from a hub and sends frames to it. It never retries: errors carry classes that tell
// what to do. Common to all methods: Unavailable when the hub cannot be reached, does not answer in time or cannot serve
// the request now (repeat after a wait; at once with ReasonPending), NotFound for an unknown content or chunk,
// Precondition with manifest.ReasonGone when the content's source failed or the content was removed, Corrupt when data
// differs from its digest, Unauthenticated and Denied when the certificate is refused, Cancelled or Timeout when ctx
// ends. Safe for concurrent use; each running call uses one connection.
type Client struct {
	http *http.Client
	base string
	idle time.Duration // longest silence while a body arrives
	link meter
}

// bodySilence is the longest silence inside a body; a server writes a keep-alive record well before.
const bodySilence = time.Minute

// NewClient returns a client for one endpoint. hc should use NewTransport and must have no Timeout, for manifests stream
// as long as a content grows.
func NewClient(e Endpoint, hc *http.Client) *Client {
	return &Client{http: hc, base: e.base, idle: bodySilence, link: meter{now: time.Now}}
}

// Manifest opens the manifest of a content from chunk number from on. The decoder follows a content that still grows:
// its Next blocks until there are more chunks and ends with the End record. Its errors are classed like the client's; a
// cut stream is Unavailable: open it again from the first chunk not seen. Cancelling ctx ends it. Close the closer when
// done, but not while Next runs.
func (c *Client) Manifest(ctx context.Context, content image.ID, from int) (*manifest.Decoder, io.Closer, error) {
	body, err := c.do(ctx, http.MethodGet, c.url(content, "manifest?from="+strconv.Itoa(from)), nil)
	if err != nil {
		return nil, nil, err
	}
	d := manifest.NewDecoder(unended{body})
	first, err := d.First()
	if err == nil && first != from {
		err = fault.New(fault.Corrupt, "BAD_MANIFEST", "the manifest begins at chunk %d, not %d", first, from)
	}
	if err != nil {
		_ = body.Close()
		return nil, nil, err
	}
	return d, body, nil
}

// Get fetches one chunk into dst, whose capacity must be manifest.ChunkSize or at least hold the chunk, and checks it
// against want, the chunk's digest in the manifest. raw is the chunk, in dst; wire is the number of body bytes received,
// also with an error. Get blocks while the hub waits for the chunk to arrive, up to about half a minute, then returns
// Unavailable with ReasonPending. On a Corrupt error call Refetch.
func (c *Client) Get(ctx context.Context, content image.ID, index int, want manifest.Digest, dst []byte) (raw []byte, wire int64, err error) {
	return c.get(ctx, c.url(content, "frames/"+strconv.Itoa(index)), want, dst, nil)
}

// LinkRate returns at how many bytes per second frames have arrived lately while any did; 0 while that is not known.
func (c *Client) LinkRate() float64 { return c.link.bytesPerSecond() }

// Base is a content that the caller has.
type Base struct {
	Content image.ID
	Bytes   io.ReaderAt
}

// GetCompact is Get for a slow link: the hub sends the chunk in a shorter form when it has one or can make one, compressed or,
// with a base, as what differs from that; else as it is. base may be nil. Corrupt may mean that the base is damaged.
// Errors of reading the base are returned as they are.
func (c *Client) GetCompact(ctx context.Context, content image.ID, index int, want manifest.Digest, dst []byte, base *Base) (
	raw []byte, wire int64, err error,
) {
	query := "?compact=1"
	if base != nil {
		query += "&base=" + string(base.Content)
	}
	return c.get(ctx, c.url(content, "frames/"+strconv.Itoa(index)+query), want, dst, base)
}

// Refetch is Get after a Corrupt error: it has the hub check its own copy of the frame first and, if that is damaged,
// fetch it again from a site.
func (c *Client) Refetch(ctx context.Context, content image.ID, index int, want manifest.Digest, dst []byte) (raw []byte, wire int64, err error) {
	return c.get(ctx, c.url(content, "frames/"+strconv.Itoa(index)+"?verify=1"), want, dst, nil)
}

func (c *Client) get(ctx context.Context, url string, want manifest.Digest, dst []byte, base *Base) ([]byte, int64, error) {
	body, err := c.do(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = body.Close() }()
	var head [HeaderSize]byte
	n, err := io.ReadFull(body, head[:])
	wire := int64(n)
	if err != nil {
		return nil, wire, cut(err)
	}
	h, err := ParseHeader(head[:])
	if err != nil {
		return nil, wire, err
	}
	if cap(dst) < h.Raw {
		return nil, wire, fault.New(fault.Invalid, "SHORT_BUFFER", "the buffer holds %d bytes, the chunk has %d", cap(dst), h.Raw)
	}
	into := dst[:h.Raw:h.Raw]
	if h.Codec != Raw {
		scratch := buffers.Get().(*[]byte)
		defer buffers.Put(scratch)
		into = (*scratch)[:h.Payload]
	}
	end := c.link.begin()
	n, err = io.ReadFull(body, into)
	end(int64(n))
	wire += int64(n)
	if err != nil {
		return nil, wire, cut(err)
	}
	if _, err := io.ReadFull(body, head[:1]); !errors.Is(err, io.EOF) {
		return nil, wire, corrupt("bytes follow its payload")
	}
	if into, err = unfold(h, into, dst, base); err != nil {
		return nil, wire, err
	}
	if err := Verify(into, want); err != nil {
		return nil, wire, err
	}
	return into, wire, nil
}

// unfold returns the chunk of a payload, in dst unless it is the payload itself.
func unfold(h Header, payload, dst []byte, base *Base) ([]byte, error) {
	switch h.Codec {
	case Zstd:
		return inflate(payload, dst[:0:h.Raw])
	case Delta:
		if base == nil {
			return nil, corrupt("it needs a base that was not offered")
		}
		return dst[:h.Raw], delta.Apply(dst[:h.Raw], payload, base.Bytes)
	default:
		return payload, nil
	}
}

// buffers holds scratch space for encoded frames.
var buffers = sync.Pool{New: func() any { b := make([]byte, MaxSize); return &b }}

// Put sends one chunk of a complete content to the hub. raw is not kept. It succeeds when the hub has the chunk already.
// Corrupt means that raw is not what the manifest says: the copy that is offered is damaged or of another content.
// Unavailable with reason STAGING_FULL means that the hub has no space now.
func (c *Client) Put(ctx context.Context, content image.ID, index int, raw []byte, codec Codec) error {
	url := c.url(content, "frames/"+strconv.Itoa(index))
	if codec == Raw && len(raw) >= 1 && len(raw) <= manifest.ChunkSize {
		return c.put(ctx, url, Header{Codec: Raw, Raw: len(raw), Payload: len(raw)}.Append(nil), raw)
	}
	scratch := buffers.Get().(*[]byte)
	defer buffers.Put(scratch)
	b, err := Encode((*scratch)[:0], raw, codec)
	if err != nil {
		return err
	}
	return c.put(ctx, url, b[:HeaderSize], b[HeaderSize:])
}

func (c *Client) put(ctx context.Context, url string, header, payload []byte) error {
	body, err := c.do(ctx, http.MethodPut, url, [][]byte{header, payload})
	if err != nil {
		return err
	}
	return body.Close()
}

// maxDemand bounds what Demand returns.
const maxDemand = 1024

// Demand blocks until the hub wants chunks of a content that this agent offers, and returns their numbers, at most most
// of them (1 to 1024); none when nothing was wanted for a while (about 20 s): then ask again. The hub expects each with
// Put within half a minute and asks another agent afterwards.
func (c *Client) Demand(ctx context.Context, content image.ID, most int) ([]int, error) {
	body, err := c.do(ctx, http.MethodGet, c.url(content, "demand?max="+strconv.Itoa(most)), nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	return decodeIndexes(body)
}

func (c *Client) url(content image.ID, rest string) string {
	return c.base + "/v1/contents/" + string(content) + "/" + rest
}

// do runs a request and returns the body of a successful answer.
func (c *Client) do(ctx context.Context, method, url string, parts [][]byte) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	body, err := c.start(ctx, method, url, parts)
	if err != nil {
		err = transportFault(ctx, err)
		cancel(nil)
		return nil, err
	}
	return &watchedBody{ReadCloser: body, ctx: ctx, cancel: cancel, idle: c.idle}, nil
}

func (c *Client) start(ctx context.Context, method, url string, parts [][]byte) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, fmt.Errorf("build request: %w", err)
	}
	if parts != nil {
		// GetBody lets the transport repeat a PUT when an idle connection turns out to be closed.
		req.GetBody = func() (io.ReadCloser, error) {
			readers := make([]io.Reader, len(parts))
			for i, p := range parts {
				readers[i] = bytes.NewReader(p)
			}
			return io.NopCloser(io.MultiReader(readers...)), nil
		}
		for _, p := range parts {
			req.ContentLength += int64(len(p))
		}
		req.Body, _ = req.GetBody()
		req.Header.Set("Content-Type", frameType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		defer func() { _ = resp.Body.Close() }()
		return nil, readFault(resp)
	}
	return resp.Body, nil
}
