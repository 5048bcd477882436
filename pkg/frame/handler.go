package frame

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

const frameType = "application/vnd.atoll.frame"

// Store is what a Handler serves. Its errors are fault errors; manifest.ReasonGone says that a content's source failed.
// All methods block at most until ctx ends.
type Store interface {
	// Follow waits until the content has a chunk number from or is complete. It returns the digests known from there on,
	// which are shared and must not be changed, and the end once these are all.
	Follow(ctx context.Context, content image.ID, from int) ([]manifest.Digest, *manifest.End, error)
	// OpenFrame waits until the frame of a chunk is there and returns its file and a function that closes it; served
	// says whether the whole frame has been delivered. With verify it is compared with its digest first and thrown away
	// if it differs.
	OpenFrame(ctx context.Context, content image.ID, index int, verify bool) (file *os.File, done func(served bool), err error)
	// PutFrame checks and stores the frame of a chunk; frame is not kept. A frame that is there already is kept.
	PutFrame(ctx context.Context, content image.ID, index int, frame []byte) error
	// Demand waits until chunks are wanted from those who offer the content, and returns at most most of them.
	Demand(ctx context.Context, content image.ID, most int) ([]int, error)
}

// Compact has shorter frames for slow links.
type Compact interface {
	// Open returns the shorter frame of a chunk for a site that has the content base, which may be empty; nil when there is none. It
	// blocks at most until ctx ends. The caller closes the file.
	Open(ctx context.Context, content image.ID, index int, base image.ID) (*os.File, error)
}

// HandlerOptions are the waits of a Handler. Zero values mean the defaults.
type HandlerOptions struct {
	FrameWait time.Duration // how long a GET waits for a frame to arrive; default 30 s
	PollWait  time.Duration // how long a demand poll waits; default 20 s
	KeepAlive time.Duration // longest silence in a manifest stream; default 10 s
	SpaceWait time.Duration // how long a PUT waits for space in the staging area; default 10 s
	Stall     time.Duration // how long a peer may take to send or accept one frame, with a Pacer a piece of it; default 2 min
	Puts      int           // PUTs handled at the same time, each with a buffer of one frame or two; default 8
	Manifests Manifests     // takes in manifests; nil: none are
	Compact   Compact       // nil: frames are sent as they are
	Pacer     Pacer         // nil: frames move as fast as they can
}

type handler struct {
	store     Store
	o         HandlerOptions
	puts      chan struct{}
	manifests chan struct{} // manifests being taken in
}

// manifestPuts bounds how many manifests are taken in at the same time, for each is held in memory: 8 MiB for a TiB.
const manifestPuts = 2

// NewHandler returns the handler of /v1/contents/. Put authentication in front of it. Its answers that are errors carry
// {"reason","message"}. The server should speak HTTP/1.1 and have a ReadHeaderTimeout; the handler sets deadlines for
// bodies itself.
func NewHandler(store Store, o HandlerOptions) http.Handler {
	o.FrameWait = cmp.Or(o.FrameWait, 30*time.Second)
	o.PollWait = cmp.Or(o.PollWait, 20*time.Second)
	o.KeepAlive = cmp.Or(o.KeepAlive, 10*time.Second)
	o.SpaceWait = cmp.Or(o.SpaceWait, 10*time.Second)
	o.Stall = cmp.Or(o.Stall, 2*time.Minute)
	o.Puts = cmp.Or(o.Puts, 8)
	h := &handler{store: store, o: o, puts: make(chan struct{}, o.Puts), manifests: make(chan struct{}, manifestPuts)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/contents/{content}/manifest", h.route(h.manifest))
	mux.HandleFunc("PUT /v1/contents/{content}/manifest", h.route(h.putManifest))
	mux.HandleFunc("GET /v1/contents/{content}/frames/{index}", h.route(h.frame))
	mux.HandleFunc("PUT /v1/contents/{content}/frames/{index}", h.route(h.put))
	mux.HandleFunc("GET /v1/contents/{content}/demand", h.route(h.demand))
	return mux
}

// route parses the content and turns an error into an answer.
func (h *handler) route(serve func(w http.ResponseWriter, r *http.Request, content image.ID) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		content, err := image.ParseID("content", r.PathValue("content"))
		if err == nil {
			err = serve(w, r, content)
		}
		if err != nil {
			WriteFault(w, err)
		}
	}
}

func (h *handler) frame(w http.ResponseWriter, r *http.Request, content image.ID) error {
	index, err := parseNumber("index", r.PathValue("index"), 0, manifest.MaxChunks-1)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(r.Context(), h.o.FrameWait,
		fault.New(fault.Unavailable, ReasonPending, "chunk %d has not arrived yet", index))
	defer cancel()
	file, done, err := h.open(ctx, r.URL.Query(), content, index)
	if err != nil {
		return err
	}
	served := false
	defer func() { done(served) }()
	info, err := file.Stat()
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "STAGING_DISK", "the staging area cannot be read")
	}
	turn, err := h.begin(ctx, content)
	if err != nil {
		return err
	}
	if turn != nil {
		defer turn.End()
	}
	w.Header().Set("Content-Type", frameType)
	w.Header().Set("Content-Length", strconv.FormatInt(info.Size(), 10))
	n, err := h.send(r.Context(), w, turn, file, info.Size())
	served = err == nil && n == info.Size()
	if !served {
		panic(http.ErrAbortHandler) // the answer has begun: cut it, so that the client notices
	}
	return nil
}

// open opens the frame that a request asks for.
func (h *handler) open(ctx context.Context, query url.Values, content image.ID, index int) (*os.File, func(served bool), error) {
	if h.o.Compact != nil && query.Get("compact") == "1" {
		var base image.ID
		if s := query.Get("base"); s != "" {
			var err error
			if base, err = image.ParseID("base", s); err != nil {
				return nil, nil, err
			}
		}
		file, err := h.o.Compact.Open(ctx, content, index, base)
		if file != nil {
			return file, func(bool) { _ = file.Close() }, nil
		}
		if err != nil && ctx.Err() != nil {
			return nil, nil, err
		} // else the frame itself tells what is wrong, if anything is
	}
	return h.store.OpenFrame(ctx, content, index, query.Get("verify") == "1")
}

func (h *handler) put(w http.ResponseWriter, r *http.Request, content image.ID) error {
	index, err := parseNumber("index", r.PathValue("index"), 0, manifest.MaxChunks-1)
	if err != nil {
		return err
	}
	if r.ContentLength < HeaderSize || r.ContentLength > MaxSize {
		return fault.BadField("Content-Length", "a frame has %d to %d bytes", HeaderSize+1, MaxSize)
	}
	patient, cancel := context.WithTimeoutCause(r.Context(), h.o.Stall, fault.New(fault.Unavailable, ReasonPending, "chunk %d cannot be taken yet", index))
	defer cancel()
	turn, err := h.begin(patient, content)
	if err != nil {
		return err
	}
	if turn != nil {
		defer turn.End()
	}
	select {
	case h.puts <- struct{}{}:
		defer func() { <-h.puts }()
	case <-r.Context().Done():
		return r.Context().Err()
	}
	scratch := buffers.Get().(*[]byte)
	defer buffers.Put(scratch)
	b := (*scratch)[:r.ContentLength]
	if err := h.receive(r.Context(), w, turn, r.Body, b); err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(r.Context(), h.o.SpaceWait)
	defer stop()
	if err := h.store.PutFrame(ctx, content, index, b); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (h *handler) demand(w http.ResponseWriter, r *http.Request, content image.ID) error {
	most, err := parseNumber("max", r.URL.Query().Get("max"), 1, maxDemand)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.o.PollWait)
	defer cancel()
	indexes, err := h.store.Demand(ctx, content, most)
	if err != nil && (!errors.Is(err, context.DeadlineExceeded) || r.Context().Err() != nil) {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	return encodeIndexes(w, indexes)
}

func parseNumber(field, s string, least, most int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < least || n > most {
		return 0, fault.BadField(field, "a number from %d to %d is needed", least, most)
	}
	return n, nil
}
