package staging

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// benchChunks is the length of the contents in chunks: 256 MiB.
const benchChunks = 64

func randomChunks() [][]byte {
	chunks := make([][]byte, 8)
	for i := range chunks {
		c, x := make([]byte, manifest.ChunkSize), uint64(i)+1
		for j := range c {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
			c[j] = byte(x)
		}
		chunks[i] = c
	}
	return chunks
}

// BenchmarkAppend measures an import up to the commit; chunks repeat, but nothing profits from that.
func BenchmarkAppend(b *testing.B) {
	a, chunks := testArea(b, Options{Limit: 1 << 40}), randomChunks()
	b.SetBytes(benchChunks * manifest.ChunkSize)
	for b.Loop() {
		id := image.NewID()
		w, err := a.Create(id)
		if err != nil {
			b.Fatal(err)
		}
		for i := range benchChunks {
			if err := w.Append(context.Background(), chunks[i%len(chunks)]); err != nil {
				b.Fatal(err)
			}
		}
		if _, _, err := w.Commit(context.Background(), benchChunks*manifest.ChunkSize); err != nil {
			b.Fatal(err)
		}
		a.Forget(id)
	}
}

// BenchmarkGet measures one connection, server and client together, with the client's check of the digest.
func BenchmarkGet(b *testing.B) {
	a, chunks, id := testArea(b, Options{Limit: 1 << 40}), randomChunks(), image.NewID()
	write(b, a, id, chunks...)
	m, _, err := a.Manifest(id)
	if err != nil {
		b.Fatal(err)
	}
	for name, serve := range map[string]func(testing.TB, http.Handler) *frame.Client{"unix": serveUnix, "tls": serveTLS} {
		b.Run(name, func(b *testing.B) {
			client := serve(b, frame.NewHandler(a, frame.HandlerOptions{}))
			buf := make([]byte, manifest.ChunkSize)
			b.SetBytes(manifest.ChunkSize)
			n := 0
			for b.Loop() {
				i := n % len(chunks)
				if _, _, err := client.Get(context.Background(), id, i, m.Chunks[i], buf); err != nil {
					b.Fatal(err)
				}
				n++
			}
		})
	}
	b.Run("plain without check", func(b *testing.B) {
		s := httptest.NewServer(frame.NewHandler(a, frame.HandlerOptions{}))
		b.Cleanup(s.Close)
		buf := make([]byte, frame.MaxSize)
		b.SetBytes(manifest.ChunkSize)
		for b.Loop() {
			resp, err := s.Client().Get(s.URL + "/v1/contents/" + string(id) + "/frames/0")
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(resp.Body, buf); err != nil {
				b.Fatal(err)
			}
			_ = resp.Body.Close()
		}
	})
}

func serveUnix(t testing.TB, h http.Handler) *frame.Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: h}}
	s.Start()
	return connect(t, s, "unix:"+path)
}

func serveTLS(t testing.TB, h http.Handler) *frame.Client {
	t.Helper()
	s := httptest.NewTLSServer(h)
	return connect(t, s, s.URL)
}

// connect returns a client of a test server; both end with the test.
func connect(t testing.TB, s *httptest.Server, url string) *frame.Client {
	t.Helper()
	e, err := frame.ParseEndpoint("url", url)
	if err != nil {
		t.Fatal(err)
	}
	transport := frame.NewTransport(e, nil)
	if s.TLS != nil {
		transport = frame.NewTransport(e, s.Client().Transport.(*http.Transport).TLSClientConfig)
	}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		s.Close()
	})
	return frame.NewClient(e, &http.Client{Transport: transport})
}
