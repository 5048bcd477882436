package frame_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// taker takes in manifests.
type taker struct {
	want   manifest.End
	refuse error
	fail   error
	got    *manifest.Manifest
}

func (k *taker) Expect(context.Context, image.ID) (manifest.End, error) { return k.want, k.refuse }

func (k *taker) Adopt(_ context.Context, id image.ID, m *manifest.Manifest) error {
	if id != content {
		return fault.New(fault.NotFound, "CONTENT_UNKNOWN", "no content %s", id)
	}
	k.got = m
	return k.fail
}

// layout returns a manifest of n chunks, every third of zeroes.
func layout(n int) *manifest.Manifest {
	m := &manifest.Manifest{Length: int64(n)*manifest.ChunkSize - 5}
	for i := range n {
		d := manifest.Digest{byte(i), byte(i >> 8), 1}
		if i%3 == 0 {
			d = manifest.Digest{}
		}
		m.Chunks = append(m.Chunks, d)
	}
	return m
}

func TestPutManifest(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 1024, 1025, 5000} {
		m := layout(n)
		k := &taker{want: manifest.End{Length: m.Length, Root: m.Root(frame.Sum)}}
		c, _ := serve(t, frame.NewHandler(newStore(t), frame.HandlerOptions{Manifests: k}))
		if err := c.PutManifest(t.Context(), content, m); err != nil {
			t.Fatal(err)
		}
		if k.got.Length != m.Length || !slices.Equal(k.got.Chunks, m.Chunks) {
			t.Errorf("%d chunks arrived as %d", n, len(k.got.Chunks))
		}
		k.want.Root = manifest.Digest{}
		if err := c.PutManifest(t.Context(), content, m); err != nil {
			t.Errorf("when any will do: %v", err)
		}
	}
}

func TestPutManifestRefused(t *testing.T) {
	t.Parallel()
	m := layout(10)
	good := manifest.End{Length: m.Length, Root: m.Root(frame.Sum)}
	for name, c := range map[string]struct {
		taker  *taker
		class  fault.Class
		reason string
	}{
		"not awaited":    {nil, fault.Denied, "NOT_AWAITED"},
		"another site":   {&taker{refuse: fault.New(fault.Denied, "NOT_YOUR_COPY", "no")}, fault.Denied, "NOT_YOUR_COPY"},
		"not yet":        {&taker{refuse: fault.New(fault.Unavailable, "COPY_UNCONFIRMED", "no")}, fault.Unavailable, "COPY_UNCONFIRMED"},
		"unknown":        {&taker{refuse: fault.New(fault.NotFound, "CONTENT_UNKNOWN", "no")}, fault.NotFound, "CONTENT_UNKNOWN"},
		"too long":       {&taker{want: manifest.End{Length: 9 * manifest.ChunkSize}}, fault.Corrupt, "BAD_MANIFEST"},
		"too short":      {&taker{want: manifest.End{Length: m.Length + 1}}, fault.Corrupt, "BAD_MANIFEST"},
		"another root":   {&taker{want: manifest.End{Length: m.Length, Root: manifest.Digest{1}}}, fault.Corrupt, "BAD_MANIFEST"},
		"disk":           {&taker{want: good, fail: fault.New(fault.Unavailable, "STAGING_DISK", "bad")}, fault.Unavailable, "STAGING_DISK"},
		"being received": {&taker{want: good, fail: fault.New(fault.Exists, "CONTENT_EXISTS", "busy")}, fault.Unavailable, "CONTENT_EXISTS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := frame.HandlerOptions{}
			if c.taker != nil {
				o.Manifests = c.taker
			}
			client, _ := serve(t, frame.NewHandler(newStore(t), o))
			err := client.PutManifest(t.Context(), content, m)
			if fault.ClassOf(err) != c.class || fault.ReasonOf(err) != c.reason {
				t.Errorf("got %v", err)
			}
		})
	}
	if err := (&frame.Client{}).PutManifest(t.Context(), content, &manifest.Manifest{}); !fault.Is(err, fault.Corrupt) {
		t.Errorf("no manifest at all: %v", err)
	}
}

// What an agent that is broken or bad sends is bounded by the length that is expected, and never stored.
func TestPutManifestOfJunk(t *testing.T) {
	t.Parallel()
	header := "atollmf1\x00\x40\x00\x00\x00\x00\x00\x00"
	for name, body := range map[string]io.Reader{
		"empty":      strings.NewReader(""),
		"no header":  strings.NewReader("GIF89a and so on and on"),
		"cut":        strings.NewReader(header + "c1234"),
		"bomb":       strings.NewReader(header + "z\x00\xff\xff\xff"),
		"endless":    io.MultiReader(strings.NewReader(header), endless('k')),
		"chunks":     io.MultiReader(strings.NewReader(header), endless('c')),
		"gone":       strings.NewReader(header + "x"),
		"not at all": strings.NewReader(header + "?"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := &taker{want: manifest.End{Length: 100}}
			h := frame.NewHandler(newStore(t), frame.HandlerOptions{Manifests: k})
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPut, fmt.Sprintf("/v1/contents/%s/manifest", content), body)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code < 400 || k.got != nil {
				t.Errorf("answered %d, stored %v", w.Code, k.got)
			}
		})
	}
}

// endless is a body without an end.
type endless byte

func (e endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(e)
	}
	return len(p), nil
}

// A sender that stops in the middle does not hold a place for ever.
func TestPutManifestStalls(t *testing.T) {
	t.Parallel()
	k := &taker{want: manifest.End{Length: 100}}
	s := httptest.NewServer(frame.NewHandler(newStore(t), frame.HandlerOptions{Manifests: k, Stall: 50 * time.Millisecond}))
	t.Cleanup(s.Close)
	body, stop := io.Pipe()
	t.Cleanup(func() { _ = stop.Close() })
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.URL+"/v1/contents/"+string(content)+"/manifest", body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return // the connection was cut, which will do
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("answered %s", resp.Status)
	}
}
