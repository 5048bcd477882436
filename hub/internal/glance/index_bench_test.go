package glance

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/catalog/catalogtest"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	"github.com/atoll-dcn/atoll/pkg/policy"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// manyImages is how many images the API must carry with ease.
const manyImages = 100_000

// large are records of many images, each with a copy in the central store, found without a search.
type large struct{ *catalogtest.Records }

func (large) Replicas(id image.ID) ([]*storev1.Replica, []int64) {
	return []*storev1.Replica{{
		ImageId: string(id), StoreId: "central", SiteId: "central", Phase: storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE, Location: location4("central", string(id)),
	}}, []int64{1}
}

// Stores returns what is looked for among all records otherwise.
func (large) Stores() []*storev1.Store { return []*storev1.Store{{Id: "central"}} }

func (large) ImageOperations(image.ID) ([]*storev1.Operation, []int64) { return nil, nil }

// crowd is the API over many images.
type crowd struct {
	http.Handler
	records large
	catalog *catalog.Catalog
	index   *Index
	ids     []string
	changes int
}

func newCrowd(b *testing.B) *crowd {
	b.Helper()
	c := &crowd{records: large{catalogtest.New()}}
	for n := range manyImages {
		img := active("p1", storev1.Visibility_VISIBILITY_PUBLIC)
		img.Id = string(image.NewID())
		img.Name = fmt.Sprintf("image-%d", n)
		img.Properties = map[string]string{"os_distro": "cirros", "hw_disk_bus": "virtio"}
		img.CreateTime = timestamppb.New(start.Add(time.Duration(n*7919%manyImages) * time.Second))
		img.UpdateTime = img.CreateTime
		c.records.Put(catalog.ImageKey(image.ID(img.Id)), img)
		c.ids = append(c.ids, img.Id)
	}
	c.catalog = catalog.New(c.records, "central", catalog.DefaultLimits(), time.Now)
	c.index = NewIndex(c.catalog)
	b.Cleanup(c.index.Close)
	rules, err := policy.New(policy.Options{})
	if err != nil {
		b.Fatal(err)
	}
	rt := imageapi.NewRouter()
	New(Config{Catalog: c.catalog, Index: c.index, Policy: rules}).Routes(rt)
	c.Handler = rt.Serve(imageapi.Options{Verifier: names{}})
	return c
}

// change changes one image.
func (c *crowd) change(b *testing.B) {
	b.Helper()
	c.changes++
	n := c.changes
	id := image.ID(c.ids[n*7919%len(c.ids)])
	err := c.catalog.EditImage(b.Context(), id, 0, func(img *storev1.Image) error {
		img.Name = fmt.Sprintf("changed-%d", n)
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

func (c *crowd) ask(b *testing.B, method, path, body string, want int) {
	b.Helper()
	r := httptest.NewRequestWithContext(b.Context(), method, path, strings.NewReader(body))
	if body == "" {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	r.Header.Set("X-Auth-Token", "alice")
	r.Header.Set("Content-Type", imageapi.PatchV21)
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	if w.Code != want {
		b.Fatalf("%s %s: got %d %s", method, path, w.Code, w.Body)
	}
}

// BenchmarkAPI measures whole requests over many images, without the network. In "changes" an image changes before each.
func BenchmarkAPI(b *testing.B) {
	c := newCrowd(b)
	for _, tt := range []struct {
		name string
		ask  func(b *testing.B, n int)
	}{
		{"show", func(b *testing.B, n int) { c.ask(b, "GET", "/v2/images/"+c.ids[n%len(c.ids)], "", 200) }},
		{"list", func(b *testing.B, _ int) { c.ask(b, "GET", "/v2/images?limit=100", "", 200) }},
		{"page", func(b *testing.B, n int) {
			c.ask(b, "GET", "/v2/images?limit=100&marker="+c.ids[n%len(c.ids)], "", 200)
		}},
	} {
		b.Run(tt.name+"/quiet", func(b *testing.B) {
			for n := 0; b.Loop(); n++ {
				tt.ask(b, n)
			}
		})
		b.Run(tt.name+"/changes", func(b *testing.B) {
			for n := 0; b.Loop(); n++ {
				c.change(b)
				tt.ask(b, n)
			}
		})
	}
	b.Run("patch", func(b *testing.B) {
		for n := 0; b.Loop(); n++ {
			patch := fmt.Sprintf(`[{"op": "replace", "path": "/name", "value": "%d"}]`, n)
			c.ask(b, "PATCH", "/v2/images/"+c.ids[n%len(c.ids)], patch, 200)
		}
	})
	b.Run("create", func(b *testing.B) {
		for b.Loop() {
			c.ask(b, "POST", "/v2/images", `{"name": "new", "disk_format": "raw", "container_format": "bare"}`, 201)
		}
	})
}

// BenchmarkIndexTakesOverChanges measures a read of the list after each of 1000 changes, and after all of them.
func BenchmarkIndexTakesOverChanges(b *testing.B) {
	c := newCrowd(b)
	b.Run("one by one", func(b *testing.B) {
		for b.Loop() {
			c.change(b)
			c.index.Images()
		}
	})
	b.Run("1000 at once", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			for range 1000 {
				c.change(b)
			}
			b.StartTimer()
			c.index.Images()
		}
	})
	b.Run("from nothing", func(b *testing.B) {
		for b.Loop() {
			NewIndex(c.catalog).Close()
		}
	})
}
