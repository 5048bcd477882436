package glance

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/staging"
	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

func TestPutFile(t *testing.T) {
	t.Parallel()
	data := random(9<<20 + 5)
	for name, c := range map[string]struct {
		body    io.Reader
		headers []string
		stores  string
	}{
		"length":         {bytes.NewReader(data), nil, "central"},
		"chunked":        {chunked(data), nil, "central"},
		"size in header": {chunked(data), []string{"x-openstack-image-size", fmt.Sprint(len(data))}, "central"},
		"store in header": {
			bytes.NewReader(data), []string{"x-image-meta-store", "dcn1"}, "central,dcn1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHub(t)
			id := h.create()
			h.want(http.StatusNoContent, "PUT", path(id, "file"), c.body, octets(c.headers...)...)
			if got := h.show(id)["status"]; got != "active" {
				t.Fatalf("the image is %s after its upload", got)
			}
			h.until("all stores have it", func() bool { return h.show(id)["stores"] == c.stores })
			sum := md5.Sum(data)
			img := h.show(id)
			if img["checksum"] != hex.EncodeToString(sum[:]) || img["size"] != float64(len(data)) || img["virtual_size"] != float64(len(data)) {
				t.Fatalf("got %v", img)
			}
			for store := range strings.SplitSeq(c.stores, ",") {
				if !bytes.Equal(h.sites.copied(store, id), data) {
					t.Fatalf("store %s has other bytes", store)
				}
			}
		})
	}
}

func TestPutFileRefused(t *testing.T) {
	t.Parallel()
	h := newHub(t, func(o *options) { o.limits.ImageSize = 100 })
	queued, done := h.create(), h.upload([]byte("x"))
	bare, err := h.catalog.CreateImage(t.Context(), catalog.NewImage{Owner: "p1"})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		code    int
		id      image.ID
		body    io.Reader
		headers []string
	}{
		"content type":        {http.StatusUnsupportedMediaType, queued, jsonBody("x"), []string{"Content-Type", "application/json"}},
		"no content type":     {http.StatusUnsupportedMediaType, queued, jsonBody("x"), nil},
		"size is no number":   {http.StatusBadRequest, queued, jsonBody("x"), octets("x-openstack-image-size", "many")},
		"size is negative":    {http.StatusBadRequest, queued, jsonBody("x"), octets("x-openstack-image-size", "-1")},
		"unknown store":       {http.StatusBadRequest, queued, jsonBody("x"), octets("x-image-meta-store", "nowhere")},
		"no such image":       {http.StatusNotFound, image.NewID(), jsonBody("x"), octets()},
		"someone else's":      {http.StatusNotFound, queued, jsonBody("x"), octets("X-Auth-Token", "bob")},
		"not allowed":         {http.StatusForbidden, queued, jsonBody("x"), octets("X-Auth-Token", "ann")},
		"active already":      {http.StatusConflict, done, jsonBody("x"), octets()},
		"no formats":          {http.StatusBadRequest, image.ID(bare.Id), jsonBody("x"), octets()},
		"empty to stage":      {http.StatusBadRequest, queued, chunked(nil), octets("stage", "")},
		"too short":           {http.StatusBadRequest, queued, chunked([]byte("abc")), octets("x-openstack-image-size", "4")},
		"too long":            {http.StatusBadRequest, queued, chunked([]byte("abcde")), octets("x-openstack-image-size", "4")},
		"header wins":         {http.StatusBadRequest, queued, jsonBody("abc"), octets("x-openstack-image-size", "4")},
		"too large":           {http.StatusRequestEntityTooLarge, queued, bytes.NewReader(make([]byte, 101)), octets()},
		"too large, chunked":  {http.StatusRequestEntityTooLarge, queued, chunked(make([]byte, 101)), octets()},
		"too large, it says":  {http.StatusRequestEntityTooLarge, queued, chunked([]byte("x")), octets("x-openstack-image-size", "101")},
		"too large to stage":  {http.StatusRequestEntityTooLarge, queued, chunked(make([]byte, 101)), octets("stage", "")},
		"no image to stage":   {http.StatusNotFound, image.NewID(), jsonBody("x"), octets("stage", "")},
		"active, to stage":    {http.StatusConflict, done, jsonBody("x"), octets("stage", "")},
		"stage, content type": {http.StatusUnsupportedMediaType, queued, jsonBody("x"), []string{"stage", ""}},
	} {
		h.about = name
		part := "file"
		for i, header := range c.headers {
			if header == "stage" {
				part, c.headers = "stage", append(c.headers[:i:i], c.headers[i+2:]...)
				break
			}
		}
		h.want(c.code, "PUT", path(c.id, part), c.body, c.headers...)
		h.wantNothingOf(queued)
	}
	h.want(http.StatusNoContent, "PUT", path(queued, "file"), jsonBody("x"), octets()...)
}

// Nova stores the snapshot of a server that runs from a volume as an image without any data.
func TestPutNothing(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]io.Reader{"chunked": chunked(nil), "of no length": http.NoBody} {
		h := newHub(t)
		h.about = name
		id := h.create()
		h.want(http.StatusNoContent, "PUT", path(id, "file"), body, octets()...)
		img := h.show(id)
		if img["status"] != "active" || img["size"] != 0.0 || img["checksum"] != "d41d8cd98f00b204e9800998ecf8427e" || img["stores"] != nil {
			t.Fatalf("%s: got %v", name, img)
		}
		h.want(http.StatusNoContent, "GET", path(id, "file"), nil)
		h.want(http.StatusConflict, "POST", path(id, "import"), jsonBody(`{"method":{"name":"copy-image"},"stores":["dcn0"]}`))
		h.want(http.StatusConflict, "PUT", path(id, "file"), jsonBody("x"), octets()...)
		h.want(http.StatusNoContent, "DELETE", "/v2/images/"+string(id), nil)
	}
}

// wantNothingOf checks that an image is queued and nothing of it is left; others may have data.
func (h *hub) wantNothingOf(id image.ID) {
	h.t.Helper()
	if got := h.show(id); got["status"] != "queued" || got["size"] != nil {
		h.t.Fatalf("got %v", got)
	}
	if replicas, _ := h.catalog.Read().Replicas(id); len(replicas) > 0 {
		h.t.Fatalf("left: %v", replicas)
	}
}

// An upload that no store can take is refused before its data is sent.
func TestPutFileNoStoreReady(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	id := h.create()
	h.sites.change("central", func(s *fakeSite) { s.healthy = false })
	h.sites.change("dcn0", func(s *fakeSite) { s.online = false })
	read := &counting{from: bytes.NewReader(random(8 << 20))}
	h.client.Transport.(*http.Transport).ExpectContinueTimeout = time.Minute
	r := h.want(http.StatusServiceUnavailable, "PUT", path(id, "file"), read, octets("Expect", "100-continue", "X-Image-Meta-Store", "dcn0")...)
	if read.n > 0 || r.Header.Get("Retry-After") == "" {
		t.Fatalf("%d bytes were sent, Retry-After is %q", read.n, r.Header.Get("Retry-After"))
	}
	h.wantNothing(id)
	h.want(http.StatusNoContent, "PUT", path(id, "file"), jsonBody("data"), octets("X-Image-Meta-Store", "dcn1")...)
}

type counting struct {
	from io.Reader
	n    int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n += n
	return n, err
}

// When no store makes progress the answer is 204 all the same, and the image becomes active by itself.
func TestPutFileStoreStuck(t *testing.T) {
	t.Parallel()
	h := newHub(t, func(o *options) { o.settings.UploadWait = 300 * time.Millisecond })
	id := h.create()
	h.sites.change("central", func(s *fakeSite) { s.stuck = true })
	h.want(http.StatusNoContent, "PUT", path(id, "file"), jsonBody("data"), octets()...)
	if got := h.show(id)["status"]; got != "saving" {
		t.Fatalf("the image is %s", got)
	}
	h.sites.change("central", func(s *fakeSite) { s.stuck = false })
	h.wantStatus(id, "active")
}

func TestPutFileStoreFails(t *testing.T) {
	t.Parallel()
	for reason, code := range map[string]int{"NO_SPACE": http.StatusRequestEntityTooLarge, "STORE_ERROR": http.StatusServiceUnavailable} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			h := newHub(t)
			id := h.create()
			h.sites.change("central", func(s *fakeSite) { s.failure = &agentv1.Failure{Reason: reason, Message: "it does not fit"} })
			r := h.want(code, "PUT", path(id, "file"), bytes.NewReader(random(9<<20)), octets()...)
			if !bytes.Contains(r.body, []byte("it does not fit")) {
				t.Fatalf("got %s", r.body)
			}
			if got := h.show(id)["status"]; got != "queued" {
				t.Fatalf("the image is %s", got)
			}
			h.sites.change("central", func(s *fakeSite) { s.failure = nil })
			h.want(http.StatusNoContent, "PUT", path(id, "file"), jsonBody("data"), octets()...)
		})
	}
}

// Of two uploads to one image one wins, and its bytes are those that are stored.
func TestPutFileTwice(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	id := h.create()
	r, w := io.Pipe()
	type result struct {
		reply
		err error
	}
	first := make(chan result, 1)
	go func() {
		got, err := h.try("PUT", path(id, "file"), r, octets()...)
		first <- result{got, err}
	}()
	if _, err := w.Write([]byte("first")); err != nil {
		t.Fatal(err)
	}
	h.wantStatus(id, "saving")
	h.want(http.StatusConflict, "PUT", path(id, "file"), jsonBody("second"), octets()...)
	h.want(http.StatusConflict, "PUT", path(id, "stage"), jsonBody("second"), octets()...)
	_ = w.Close()
	if got := <-first; got.err != nil || got.StatusCode != http.StatusNoContent {
		t.Fatalf("got %v, %v", got.reply, got.err)
	}
	if got := h.sites.copied("central", id); string(got) != "first" {
		t.Fatalf("got %q", got)
	}
}

func TestDownload(t *testing.T) {
	t.Parallel()
	data := append(random(5<<20), make([]byte, 4<<20)...)
	data = append(data, random(3<<20+7)...)
	h := newHub(t)
	id := h.upload(data)
	n := len(data)
	for _, c := range []struct {
		header   string
		from, to int
	}{
		{"", 0, n},
		{"bytes=0-0", 0, 1},
		{"bytes=4194303-4194304", 4194303, 4194305},
		{"bytes=-3", n - 3, n},
		{"bytes=100-", 100, n},
		{"bytes=8388607-8388608", 8388607, 8388609},
	} {
		var headers []string
		code := http.StatusOK
		if c.header != "" {
			headers, code = []string{"Range", c.header}, http.StatusPartialContent
		}
		r := h.want(code, "GET", path(id, "file?prefer=dcn1"), nil, headers...)
		if !bytes.Equal(r.body, data[c.from:c.to]) {
			t.Fatalf("%s: got %d other bytes", c.header, len(r.body))
		}
	}
}

// What the hub has dropped is fetched from a store.
func TestDownloadFromStore(t *testing.T) {
	t.Parallel()
	h := newHub(t, func(o *options) { o.staging = staging.MinLimit })
	data := random(9 << 20)
	id := h.upload(data)
	h.pushOut()
	if r := h.want(http.StatusOK, "GET", path(id, "file"), nil); !bytes.Equal(r.body, data) {
		t.Fatal("other bytes")
	}
}

// A preferred store sends what the hub has dropped, if it can; else the others do.
func TestDownloadPrefers(t *testing.T) {
	t.Parallel()
	h := newHub(t, func(o *options) { o.staging = staging.MinLimit })
	data := random(9 << 20)
	id := h.spread(data)
	h.pushOut()
	h.sites.mu.Lock()
	h.sites.asked = nil
	h.sites.mu.Unlock()
	if r := h.want(http.StatusOK, "GET", path(id, "file?prefer=dcn1,dcn0"), nil); !bytes.Equal(r.body, data) {
		t.Fatal("other bytes")
	}
	h.sites.mu.Lock()
	defer h.sites.mu.Unlock()
	if len(h.sites.asked) == 0 || h.sites.asked[0] != "dcn1" { // the central store may be asked for what comes after the end
		t.Fatalf("asked %v", h.sites.asked)
	}
}

func TestDownloadPrefersUnknown(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	id := h.upload([]byte("x"))
	h.want(http.StatusBadRequest, "GET", path(id, "file?prefer=nowhere"), nil)
}

func TestDownloadPrefersInVain(t *testing.T) {
	t.Parallel()
	h := newHub(t, func(o *options) { o.staging = staging.MinLimit })
	data := random(9 << 20)
	id := h.spread(data)
	h.pushOut()
	h.sites.change("dcn1", func(s *fakeSite) { s.healthy = false })
	h.sites.change("dcn0", func(s *fakeSite) { s.mute = true }) // given up after preferWait
	h.server.preferWait = time.Second
	if r := h.want(http.StatusOK, "GET", path(id, "file?prefer=dcn1,dcn0"), nil); !bytes.Equal(r.body, data) {
		t.Fatal("other bytes")
	}
}

// When no store can be asked for what the hub has dropped the answer comes at once.
func TestDownloadNoStoreReady(t *testing.T) {
	t.Parallel()
	h := newHub(t, func(o *options) { o.staging = staging.MinLimit })
	id := h.upload(random(9 << 20))
	h.pushOut()
	h.sites.change("central", func(s *fakeSite) { s.healthy = false })
	begin := time.Now()
	h.want(http.StatusServiceUnavailable, "GET", path(id, "file"), nil)
	if took := time.Since(begin); took > 30*time.Second {
		t.Fatalf("the answer took %s", took)
	}
}

// pushOut makes the staging area drop the data of what was uploaded before.
func (h *hub) pushOut() {
	h.t.Helper()
	for range 4 {
		h.upload(random(staging.MinLimit / 4))
	}
}

// A copy without data to read yet is no reason to wait.
func TestDownloadUnknownContent(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	id := h.upload([]byte("x"))
	img, rev := h.catalog.Read().Image(id)
	h.area.Forget(image.ID(img.Content.Id))
	if rev == 0 || img.Status != storev1.ImageStatus_IMAGE_STATUS_ACTIVE {
		t.Fatalf("got %v", img)
	}
	h.want(http.StatusServiceUnavailable, "GET", path(id, "file"), nil)
}
