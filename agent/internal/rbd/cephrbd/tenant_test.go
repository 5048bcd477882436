//go:build cgo

package cephrbd_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"math/big"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
)

// BenchmarkTenant measures how long a tenant's random writes of 4 KiB take, one at a time, alone and beside a copy that
// writes at different depths and in pieces of different sizes. It is run by hand, with -benchtime 1x -count 5, on a cluster
// with at least 4 GiB of free space.
func BenchmarkTenant(b *testing.B) {
	for _, m := range []struct{ writers, piece int }{
		{0, 0}, {8, 2 << 20}, {4, 2 << 20}, {2, 2 << 20}, {1, 2 << 20}, {1, 512 << 10}, {1, 128 << 10},
	} {
		b.Run(fmt.Sprintf("writers=%d/piece=%dKiB", m.writers, m.piece>>10), func(b *testing.B) {
			for range b.N {
				tenant(b, m.writers, m.piece, 6*time.Second)
			}
		})
	}
}

// tenantSize is the length of the tenant's disk, which is written before it is measured.
const tenantSize = 256 << 20

func tenant(b *testing.B, writers, piece int, span time.Duration) {
	b.Helper()
	c := testCluster(b)
	config := c.config()
	config.OSDTimeout = 60 * time.Second
	ctx := b.Context()
	disk := scratch(b, c.open(b, config), "tenant", tenantSize)
	data := make([]byte, 16<<20)
	_, _ = rand.Read(data)
	for off := int64(0); off < tenantSize; off += 4 << 20 {
		if err := disk.WriteAt(ctx, data[:4<<20], off); err != nil {
			b.Fatal(err)
		}
	}
	const total = 2 << 30
	img := scratch(b, c.open(b, config), "copy", total)
	running, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var mu sync.Mutex
	written := int64(0)
	for w := range writers {
		wg.Go(func() {
			for off := int64(w * piece); running.Err() == nil; off = (off + int64(writers*piece)) % total {
				if err := img.WriteAt(ctx, data[w*piece:(w+1)*piece], off); err != nil {
					b.Error(err)
					return
				}
				mu.Lock()
				written += int64(piece)
				mu.Unlock()
			}
		})
	}
	var took []time.Duration
	began := time.Now()
	for time.Since(began) < span {
		n, err := rand.Int(rand.Reader, big.NewInt(tenantSize/4096))
		if err != nil {
			b.Fatal(err)
		}
		at := time.Now()
		if err := disk.WriteAt(ctx, data[:4096], n.Int64()*4096); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(at))
	}
	whole := time.Since(began)
	stop()
	wg.Wait()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(len(took))/whole.Seconds(), "tenant-writes/s")
	b.ReportMetric(float64(written)/(1<<20)/whole.Seconds(), "copy-MiB/s")
}

// scratch makes an image that goes at the end of the benchmark.
func scratch(b *testing.B, pool rbd.Pool, name string, size int64) rbd.Image {
	b.Helper()
	name = fmt.Sprintf("%s-%d", name, time.Now().UnixNano())
	img, err := pool.Create(b.Context(), name, size)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = img.Close()
		if err := pool.Remove(context.WithoutCancel(b.Context()), name); err != nil {
			b.Error(err)
		}
	})
	return img
}
