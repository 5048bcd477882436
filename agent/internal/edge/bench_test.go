package edge

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// crowd is a snapshot with n images of twenty properties.
func crowd(n int) *agentv1.Desired {
	d := snapshot()
	for i := range n {
		d.Replicas = append(d.Replicas, goal(image.ID(fmt.Sprintf("%08x%s", i, img1[8:])), func(g *agentv1.DesiredReplica) {
			g.Metadata.Properties = map[string]string{}
			for k := range 20 {
				g.Metadata.Properties[fmt.Sprintf("hw_property_%d", k)] = "some value of a property"
			}
		}))
	}
	return d
}

// BenchmarkShow is GET of an image that the site holds, over HTTP, by one client after the other on each processor.
func BenchmarkShow(b *testing.B) {
	s := newEdgeSite(b, nil)
	s.cat.Apply(crowd(1000))
	s.cat.Apply(&agentv1.Desired{Revision: 2, Replicas: []*agentv1.DesiredReplica{goal(img1, nil)}})
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			fetch(b, s.url+path1)
		}
	})
}

// BenchmarkDownload reads 256 MiB from a site's file store or, with ATOLL_TEST_CEPH_CONF, its cluster.
func BenchmarkDownload(b *testing.B) {
	const size = 256 << 20
	run := func(b *testing.B, change func(*Config), publishTo func(*edgeSite) rbd.Pool) {
		b.Helper()
		s := newEdgeSite(b, change)
		publish(b, publishTo(s), img1, random(size))
		s.cat.Apply(snapshot(goal(img1, func(d *agentv1.DesiredReplica) { d.Metadata.SizeBytes = size })))
		b.SetBytes(size)
		b.ResetTimer()
		for range b.N {
			fetch(b, s.url+path1+"/file")
		}
	}
	b.Run("file", func(b *testing.B) { run(b, nil, func(s *edgeSite) rbd.Pool { return s.pool }) })
	b.Run("ceph", func(b *testing.B) {
		pool := cephPool(b)
		run(b, func(c *Config) { c.Pools = map[image.StoreID]rbd.Pool{st0: pool} }, func(*edgeSite) rbd.Pool { return pool })
	})
}

func fetch(b *testing.B, url string) {
	r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url, nil)
	if err != nil {
		b.Error(err)
		return
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		b.Error(err)
		return
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if _ = resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		b.Errorf("%d %v", resp.StatusCode, err)
	}
}

// BenchmarkCatalogueFile writes and reads a catalogue of 10,000 images.
func BenchmarkCatalogueFile(b *testing.B) {
	dir := b.TempDir()
	c, _ := quietCatalogue()
	c.Apply(crowd(10_000))
	b.Run("write", func(b *testing.B) {
		for range b.N {
			if !c.write(filepath.Join(dir, fileName)) {
				b.Fatal("not written")
			}
		}
		b.ReportMetric(float64(c.bytes), "bytes")
	})
	b.Run("load", func(b *testing.B) {
		for range b.N {
			again, _ := quietCatalogue()
			again.Load(dir)
			if again.Images().Len() != 10_000 {
				b.Fatal("not all are there")
			}
		}
	})
}
