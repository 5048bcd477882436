package imageapi

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/pkg/image"
)

// large returns a handler over 100,000 images, of which every tenth is private to somebody else.
func large(b *testing.B) (http.Handler, []*Image) {
	b.Helper()
	images := make([]*Image, 100_000)
	for n := range images {
		images[n] = sample(n, func(i *Image) {
			i.Name, i.Checksum, i.HashAlgo = fmt.Sprintf("name %d", n*7919%100_000), "781e5e245d69b566979b86e28d23f2c7", "sha512"
			i.HashValue = fmt.Sprintf("%0128x", n)
			i.Stores, i.Tags = []string{"central", "dcn0", "dcn1"}, []string{"a", "b"}
			i.Properties = map[string]string{"os_distro": "debian", "os_version": "12", "architecture": "x86_64", "hw_disk_bus": "virtio"}
			i.Locations = []Location{{URL: "rbd://f/p/i/snap", Store: "central", Site: image.SiteID("central")}}
			if n%10 == 0 {
				i.Visibility, i.Owner = Private, "delta"
			}
		})
	}
	w := newBench(b, images...)
	w.options.Log = nil
	w.reads.Register(w.router)
	source := indexed{w.reads.Source.Images(), map[image.ID]*Image{}}
	for _, img := range images {
		source.byID[img.ID] = img
	}
	w.reads.Source = source
	return w.router.Serve(w.options), images
}

type indexed struct {
	sequence Sequence
	byID     map[image.ID]*Image
}

func (s indexed) Images() Sequence         { return s.sequence }
func (s indexed) Image(id image.ID) *Image { return s.byID[id] }

// sink is a ResponseWriter that keeps nothing but its headers.
type sink struct {
	h    http.Header
	code int
}

func (s *sink) Header() http.Header         { return s.h }
func (s *sink) WriteHeader(code int)        { s.code = code }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }

func measure(b *testing.B, h http.Handler, token string, url func(n int) string) {
	b.Helper()
	requests := make([]*http.Request, 256)
	for i := range requests {
		requests[i] = httptest.NewRequest(http.MethodGet, url(i), nil)
		requests[i].Header.Set("X-Auth-Token", token)
	}
	took := make([]time.Duration, 0, 1<<20)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		w := &sink{h: http.Header{}}
		begin := time.Now()
		h.ServeHTTP(w, requests[n%len(requests)])
		took = append(took, time.Since(begin))
		if w.code != http.StatusOK {
			b.Fatal(w.code)
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

func BenchmarkShow(b *testing.B) {
	h, _ := large(b)
	for _, token := range []string{"alpha", "admin"} {
		b.Run(token, func(b *testing.B) {
			measure(b, h, token, func(n int) string { return "/v2/images/" + string(id(n*100+1)) })
		})
	}
}

// BenchmarkList reads pages of 100 of 100,000 images.
func BenchmarkList(b *testing.B) {
	h, images := large(b)
	for _, c := range []struct{ name, token, query string }{
		{"first", "alpha", ""},
		{"first-admin", "admin", ""},
		{"marker", "alpha", "&marker=MARKER"},
		{"name", "alpha", "&name=name+77"},
		{"sorted", "alpha", "&sort=name:asc"},
		{"sorted-marker", "alpha", "&sort=name:asc&marker=MARKER"},
		{"property", "alpha", "&os_distro=none"},
	} {
		b.Run(c.name, func(b *testing.B) {
			measure(b, h, c.token, func(n int) string {
				query := strings.ReplaceAll(c.query, "MARKER", string(images[n*380+1].ID))
				return "/v2/images?limit=100" + query
			})
		})
	}
}
