package frame_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

const content = image.ID("2bd882e7-1da0-4078-97fe-f1bb81f61b00")

// store is a Store with one content that is complete from the start. errs are the errors of the next calls.
type store struct {
	t      testing.TB
	chunks [][]byte

	mu     sync.Mutex
	errs   []error
	put    map[int][]byte
	served []bool
	wanted []int
}

func (s *store) fail() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.errs) == 0 {
		return nil
	}
	err := s.errs[0]
	s.errs = s.errs[1:]
	return err
}

func (s *store) manifest() *manifest.Manifest {
	m := &manifest.Manifest{}
	for _, c := range s.chunks {
		m.Length += int64(len(c))
		m.Chunks = append(m.Chunks, frame.ChunkDigest(c))
	}
	return m
}

func (s *store) Follow(_ context.Context, _ image.ID, from int) ([]manifest.Digest, *manifest.End, error) {
	if err := s.fail(); err != nil {
		return nil, nil, err
	}
	m := s.manifest()
	return m.Chunks[from:], &manifest.End{Length: m.Length, Root: m.Root(frame.Sum)}, nil
}

func (s *store) OpenFrame(ctx context.Context, _ image.ID, index int, verify bool) (*os.File, func(bool), error) {
	if err := s.fail(); err != nil {
		return nil, nil, err
	}
	if index >= len(s.chunks) {
		<-ctx.Done()
		return nil, nil, context.Cause(ctx)
	}
	codec := frame.Raw
	if verify {
		codec = frame.Zstd // so that the test sees that the flag has arrived
	}
	b, err := frame.Encode(nil, s.chunks[index], codec)
	if err != nil {
		return nil, nil, err
	}
	path := filepath.Join(s.t.TempDir(), "frame")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return nil, nil, err
	}
	f, err := os.Open(path)
	return f, func(served bool) {
		_ = f.Close()
		s.mu.Lock()
		s.served = append(s.served, served)
		s.mu.Unlock()
	}, err
}

func (s *store) PutFrame(_ context.Context, _ image.ID, index int, b []byte) error {
	if err := s.fail(); err != nil {
		return err
	}
	raw, err := frame.Decode(b, make([]byte, manifest.ChunkSize))
	s.mu.Lock()
	s.put[index] = bytes.Clone(raw)
	s.mu.Unlock()
	return err
}

func (s *store) Demand(ctx context.Context, _ image.ID, most int) ([]int, error) {
	if err := s.fail(); err != nil {
		return nil, err
	}
	if len(s.wanted) == 0 {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	return s.wanted[:min(most, len(s.wanted))], nil
}

func newStore(t testing.TB) *store {
	return &store{
		t: t, put: map[int][]byte{},
		chunks: [][]byte{random(manifest.ChunkSize), make([]byte, manifest.ChunkSize), bytes.Repeat([]byte("atoll"), 200)},
	}
}

// serve returns a client of a handler on a unix socket. The last result counts the connections made.
func serve(t testing.TB, h http.Handler) (*frame.Client, *connections) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	conns := &connections{}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: h, ConnState: conns.note, ErrorLog: nil}}
	s.Start()
	e, err := frame.ParseEndpoint("hub", "unix:"+path)
	if err != nil {
		t.Fatal(err)
	}
	transport := frame.NewTransport(e, nil)
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		s.CloseClientConnections()
		s.Close()
	})
	return frame.NewClient(e, &http.Client{Transport: transport}), conns
}

type connections struct {
	mu sync.Mutex
	n  int
}

func (c *connections) note(_ net.Conn, s http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s == http.StateNew {
		c.n++
	}
}

func (c *connections) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

var quick = frame.HandlerOptions{
	FrameWait: 10 * time.Millisecond, PollWait: 10 * time.Millisecond, KeepAlive: 10 * time.Millisecond,
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestClientAndHandler(t *testing.T) {
	s, ctx := newStore(t), testContext(t)
	c, conns := serve(t, frame.NewHandler(s, quick))
	buf := make([]byte, manifest.ChunkSize)
	for _, i := range []int{0, 2} {
		for name, get := range map[string]func(context.Context, image.ID, int, manifest.Digest, []byte) ([]byte, int64, error){
			"Get": c.Get, "Refetch": c.Refetch,
		} {
			raw, wire, err := get(ctx, content, i, frame.Sum(s.chunks[i]), buf)
			if err != nil || !bytes.Equal(raw, s.chunks[i]) || &raw[0] != &buf[0] {
				t.Fatalf("%s %d: %d bytes, error %v", name, i, len(raw), err)
			}
			if full := int64(frame.HeaderSize + len(raw)); name == "Get" && wire != full || i == 2 && name == "Refetch" && wire >= full {
				t.Errorf("%s %d: %d bytes on the wire for %d", name, i, wire, len(raw))
			}
		}
	}
	for i, codec := range []frame.Codec{frame.Raw, frame.Zstd} {
		if err := c.Put(ctx, content, i, s.chunks[2], codec); err != nil || !bytes.Equal(s.put[i], s.chunks[2]) {
			t.Errorf("Put: %d bytes, error %v", len(s.put[i]), err)
		}
	}
	for range 3 {
		if got, err := c.Demand(ctx, content, 5); err != nil || len(got) != 0 {
			t.Errorf("Demand of nothing: %v, error %v", got, err)
		}
	}
	s.wanted = []int{3, 1, 2}
	if got, err := c.Demand(ctx, content, 2); err != nil || !slices.Equal(got, []int{3, 1}) {
		t.Errorf("Demand: %v, error %v", got, err)
	}
	// The transport gives a connection up when it hears too late from itself that the request has been written: not twice.
	if n := conns.count(); n > 2 {
		t.Errorf("%d connections for calls one after the other", n)
	}
	for from := range len(s.chunks) + 1 {
		dec, closer, err := c.Manifest(ctx, content, from)
		if err != nil {
			t.Fatal(err)
		}
		next := from
		for {
			rec, err := dec.Next()
			if err != nil {
				t.Fatal(err)
			}
			if rec.End != nil {
				if rec.End.Root != s.manifest().Root(frame.Sum) {
					t.Errorf("from %d: root differs", from)
				}
				break
			}
			next += rec.Count
		}
		if next != len(s.chunks) {
			t.Errorf("from %d: %d chunks", from, next)
		}
		if err := closer.Close(); err != nil {
			t.Error(err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.served) != 4 || slices.Contains(s.served, false) {
		t.Errorf("frames served whole: %v", s.served)
	}
}

// What the store says reaches the client with its class, reason and message.
func TestFaultsTravel(t *testing.T) {
	for _, tt := range []struct {
		err    error
		class  fault.Class
		reason string
		after  string // Retry-After
	}{
		{fault.New(fault.NotFound, "CONTENT_UNKNOWN", "no"), fault.NotFound, "CONTENT_UNKNOWN", ""},
		{fault.New(fault.Precondition, manifest.ReasonGone, "no"), fault.Precondition, manifest.ReasonGone, ""},
		{fault.New(fault.Precondition, "CONTENT_GROWING", "no"), fault.Precondition, "CONTENT_GROWING", ""},
		{fault.New(fault.Exhausted, "STAGING_FULL", "no"), fault.Unavailable, "STAGING_FULL", "1"},
		{fault.New(fault.Unavailable, "STAGING_DISK", "no"), fault.Unavailable, "STAGING_DISK", "1"},
		{fault.New(fault.Unavailable, frame.ReasonPending, "no"), fault.Unavailable, frame.ReasonPending, "0"},
		{fault.New(fault.Corrupt, frame.ReasonCorrupt, "no"), fault.Corrupt, frame.ReasonCorrupt, ""},
		{fault.New(fault.Unauthenticated, "CERT_EXPIRED", "no"), fault.Unauthenticated, "CERT_EXPIRED", ""},
		{fault.New(fault.Denied, "CERT_REVOKED", "no"), fault.Denied, "CERT_REVOKED", ""},
		{fault.BadField("from", "no"), fault.Invalid, "INVALID_FIELD", ""},
		{errors.New("secret"), fault.Unavailable, "INTERNAL", ""},
	} {
		t.Run(fmt.Sprint(tt.reason, tt.class), func(t *testing.T) {
			s, ctx := newStore(t), testContext(t)
			c, _ := serve(t, frame.NewHandler(s, quick))
			calls := map[string]func() error{
				"Get": func() error {
					_, _, err := c.Get(ctx, content, 0, manifest.Digest{}, make([]byte, manifest.ChunkSize))
					return err
				},
				"Put":      func() error { return c.Put(ctx, content, 0, s.chunks[0], frame.Raw) },
				"Demand":   func() error { _, err := c.Demand(ctx, content, 1); return err },
				"Manifest": func() error { _, _, err := c.Manifest(ctx, content, 0); return err },
			}
			for name, call := range calls {
				s.errs = []error{tt.err}
				err := call()
				if !fault.Is(err, tt.class) || fault.ReasonOf(err) != tt.reason || strings.Contains(fault.Public(err), "secret") {
					t.Errorf("%s: %v (%v, %s)", name, err, fault.ClassOf(err), fault.ReasonOf(err))
				}
			}
			w := httptest.NewRecorder()
			frame.WriteFault(w, tt.err)
			var body struct{ Reason, Message string }
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.Reason != tt.reason || body.Message == "" {
				t.Errorf("body %q, error %v", w.Body, err)
			}
			if got := w.Header().Get("Retry-After"); got != tt.after {
				t.Errorf("Retry-After %q, want %q", got, tt.after)
			}
		})
	}
}

func TestHandlerRefusesBadRequests(t *testing.T) {
	h := frame.NewHandler(newStore(t), quick)
	at := "/v1/contents/" + string(content)
	for _, tt := range []struct {
		method, path string
		body         int
		status       int
	}{
		{"GET", "/v1/contents/nonsense/manifest?from=0", 0, 400},
		{"GET", at + "/manifest", 0, 400},
		{"GET", at + "/manifest?from=-1", 0, 400},
		{"GET", at + "/manifest?from=16777217", 0, 400},
		{"GET", at + "/frames/x", 0, 400},
		{"GET", at + "/frames/16777216", 0, 400},
		{"GET", at + "/frames/7", 0, 503},
		{"PUT", at + "/frames/-1", 100, 400},
		{"PUT", at + "/frames/0", 0, 400},
		{"PUT", at + "/frames/0", frame.MaxSize + 1, 400},
		{"PUT", at + "/frames/0", 100, 409},
		{"POST", at + "/frames/0", 100, 405},
		{"GET", at + "/demand?max=0", 0, 400},
		{"GET", at + "/demand?max=1025", 0, 400},
		{"GET", at, 0, 404},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, bytes.NewReader(make([]byte, tt.body))))
		if w.Code != tt.status {
			t.Errorf("%s %s: status %d, want %d: %s", tt.method, tt.path, w.Code, tt.status, w.Body)
		}
	}
}

// A hub that lies or breaks must not hurt the client.
func TestClientDistrustsTheServer(t *testing.T) {
	raw := random(1000)
	good, err := frame.Encode(nil, raw, frame.Raw)
	if err != nil {
		t.Fatal(err)
	}
	send := func(b []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b) }
	}
	status := func(code int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			_, _ = w.Write([]byte(body))
		}
	}
	for name, tt := range map[string]struct {
		serve  http.HandlerFunc
		class  fault.Class
		reason string
	}{
		"other bytes":      {send(append(good[:len(good)-1:len(good)-1], 0)), fault.Corrupt, frame.ReasonCorrupt},
		"bytes follow":     {send(append(slices.Clip(good), 0)), fault.Corrupt, frame.ReasonCorrupt},
		"cut":              {send(good[:len(good)-1]), fault.Unavailable, "FRAME_CUT"},
		"no header":        {send(good[:5]), fault.Unavailable, "FRAME_CUT"},
		"no frame":         {send([]byte("<html>something else</html>")), fault.Corrupt, frame.ReasonCorrupt},
		"zstd garbage":     {send(build(1, 900, 4, []byte("abcd"))), fault.Corrupt, frame.ReasonCorrupt},
		"buffer too small": {send(build(0, 4000, 4000, make([]byte, 4000))), fault.Invalid, "SHORT_BUFFER"},
		"proxy error":      {status(502, "<html>bad gateway"), fault.Unavailable, "HTTP_STATUS"},
		"no reason":        {status(404, "{}"), fault.NotFound, "HTTP_STATUS"},
		"endless error":    {status(500, strings.Repeat("x", 1<<20)), fault.Unavailable, "HTTP_STATUS"},
		"redirect":         {status(304, ""), fault.Unavailable, "HTTP_STATUS"},
		"connection cut": {
			func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
			fault.Unavailable, "HUB_UNREACHABLE",
		},
		"body cut": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(good[:500])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, fault.Unavailable, "FRAME_CUT"},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := serve(t, tt.serve)
			_, _, err := c.Get(testContext(t), content, 0, frame.Sum(raw), make([]byte, 1000))
			if !fault.Is(err, tt.class) || fault.ReasonOf(err) != tt.reason {
				t.Fatalf("%v (%v, %s)", err, fault.ClassOf(err), fault.ReasonOf(err))
			}
		})
	}
	for name, body := range map[string]string{
		"no JSON": "hello", "too many": `{"indexes":[` + strings.Repeat("1,", 2000) + `1]}`,
		"negative": `{"indexes":[-1]}`, "too big": `{"indexes":[16777216]}`,
	} {
		t.Run("demand "+name, func(t *testing.T) {
			c, _ := serve(t, send([]byte(body)))
			if got, err := c.Demand(testContext(t), content, 10); !fault.Is(err, fault.Unavailable) {
				t.Fatalf("%v, error %v", got, err)
			}
		})
	}
}

func TestCutManifest(t *testing.T) {
	for name, broken := range map[string]func(){"ended": func() {}, "aborted": func() { panic(http.ErrAbortHandler) }} {
		t.Run(name, func(t *testing.T) {
			c, _ := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				enc := manifest.NewEncoder(w, 0)
				_ = errors.Join(enc.Append(frame.Sum(nil)), http.NewResponseController(w).Flush())
				broken()
			}))
			dec, closer, err := c.Manifest(testContext(t), content, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = closer.Close() }()
			if _, err := dec.Next(); err != nil {
				t.Fatal(err)
			}
			if _, err := dec.Next(); !fault.Is(err, fault.Unavailable) {
				t.Fatalf("error %v", err)
			}
		})
	}
}

func TestManifestFromElsewhereIsRefused(t *testing.T) {
	c, _ := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = manifest.NewEncoder(w, 3).Flush()
	}))
	if _, _, err := c.Manifest(testContext(t), content, 2); !fault.Is(err, fault.Corrupt) {
		t.Fatalf("error %v", err)
	}
}

// growing is a store whose content never grows.
type growing struct{ *store }

func (growing) Follow(ctx context.Context, _ image.ID, _ int) ([]manifest.Digest, *manifest.End, error) {
	<-ctx.Done()
	return nil, nil, context.Cause(ctx)
}

func TestContextEndsCalls(t *testing.T) {
	c, _ := serve(t, frame.NewHandler(growing{newStore(t)}, frame.HandlerOptions{KeepAlive: time.Millisecond}))
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(testContext(t))
	dec, closer, err := c.Manifest(ctx, content, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = closer.Close() }()
	time.AfterFunc(20*time.Millisecond, func() { cancel(stop) })
	if _, err := dec.Next(); !errors.Is(err, stop) {
		t.Errorf("Next: %v", err)
	}
	if _, _, err := c.Get(ctx, content, 9, manifest.Digest{}, make([]byte, 1)); !errors.Is(err, stop) {
		t.Errorf("Get: %v", err)
	}
}

func TestUnreachableHub(t *testing.T) {
	e, err := frame.ParseEndpoint("hub", "unix:"+filepath.Join(t.TempDir(), "none"))
	if err != nil {
		t.Fatal(err)
	}
	c := frame.NewClient(e, &http.Client{Transport: frame.NewTransport(e, nil)})
	_, err = c.Demand(testContext(t), content, 1)
	if !fault.Is(err, fault.Unavailable) || strings.Contains(fault.Public(err), "none") {
		t.Fatalf("error %v, shown as %q", err, fault.Public(err))
	}
}

func TestUntrustedHub(t *testing.T) {
	s := httptest.NewUnstartedServer(frame.NewHandler(newStore(t), quick))
	s.Config.ErrorLog = nil
	s.StartTLS()
	defer s.Close()
	e, err := frame.ParseEndpoint("hub", s.URL)
	if err != nil {
		t.Fatal(err)
	}
	transport := frame.NewTransport(e, nil)
	transport.TLSHandshakeTimeout = time.Minute // the machine may be slow
	c := frame.NewClient(e, &http.Client{Transport: transport})
	if _, err := c.Demand(testContext(t), content, 1); !fault.Is(err, fault.Unauthenticated) || fault.ReasonOf(err) != "HUB_UNTRUSTED" {
		t.Fatalf("error %v", err)
	}
}

func TestParseEndpoint(t *testing.T) {
	for _, good := range []string{"https://hub.example:9395", "https://10.0.0.1:9395", "https://[::1]:9395", "unix:/run/atoll/frames.sock"} {
		if e, err := frame.ParseEndpoint("hub", good); err != nil || e.String() != good {
			t.Errorf("%s: %v, error %v", good, e, err)
		}
	}
	if e, err := frame.ParseEndpoint("hub", "https://hub:1/"); err != nil || e.String() != "https://hub:1" {
		t.Errorf("slash at the end: %v, error %v", e, err)
	}
	for _, bad := range []string{
		"", "hub:9395", "http://hub:9395", "https://", "https://user@hub", "https://hub/path",
		"https://hub?x=1", "unix:", "unix:relative", "https://hub:port",
	} {
		if _, err := frame.ParseEndpoint("hub", bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: error %v", bad, err)
		}
	}
}
