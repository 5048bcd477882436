//go:build cgo

package cephrbd_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// BenchmarkWriteAt writes 1 GiB of random bytes to a new image with 8 writers of 2 MiB, and with others to compare. It is run by
// hand, with -benchtime 1x -count 3, on an idle cluster with at least 3 GiB of free space.
func BenchmarkWriteAt(b *testing.B) {
	for _, m := range []struct{ writers, piece int }{{1, 2 << 20}, {4, 2 << 20}, {8, 2 << 20}, {8, manifest.ChunkSize}} {
		b.Run(fmt.Sprintf("writers=%d/piece=%dKiB", m.writers, m.piece>>10), func(b *testing.B) {
			benchmark(b, m.writers, m.piece, func(ctx context.Context, img rbd.Image, p []byte, off int64) error {
				return img.WriteAt(ctx, p, off)
			}, false)
		})
	}
}

// BenchmarkReadAt reads what a first pass wrote.
func BenchmarkReadAt(b *testing.B) {
	b.Run("readers=4/piece=4096KiB", func(b *testing.B) {
		benchmark(b, 4, manifest.ChunkSize, func(ctx context.Context, img rbd.Image, p []byte, off int64) error {
			return img.ReadAt(ctx, p, off)
		}, true)
	})
}

func benchmark(b *testing.B, workers, piece int, work func(context.Context, rbd.Image, []byte, int64) error, fill bool) {
	b.Helper()
	const total = 1 << 30
	c := testCluster(b)
	config := c.config()
	config.OSDTimeout = 60 * time.Second
	pool := c.open(b, config)
	ctx := b.Context()
	data := make([]byte, 64<<20)
	_, _ = rand.Read(data)
	b.SetBytes(total)
	var cpu time.Duration
	for range b.N {
		b.StopTimer()
		name := fmt.Sprintf("bench-%d", time.Now().UnixNano())
		img, err := pool.Create(ctx, name, total)
		if err != nil {
			b.Fatal(err)
		}
		pass := func(work func(context.Context, rbd.Image, []byte, int64) error) {
			var wg sync.WaitGroup
			for w := range workers {
				wg.Go(func() {
					p := data[w*piece : (w+1)*piece]
					for off := int64(w * piece); off < total; off += int64(workers * piece) {
						if err := work(ctx, img, p, off); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		}
		if fill {
			pass(func(ctx context.Context, img rbd.Image, p []byte, off int64) error { return img.WriteAt(ctx, p, off) })
		}
		before := cpuTime()
		b.StartTimer()
		pass(work)
		if err := img.Flush(ctx); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		cpu += cpuTime() - before
		_ = img.Close()
		if err := pool.Remove(ctx, name); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(cpu.Seconds()/float64(b.N), "client-cpu-s/GiB")
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
