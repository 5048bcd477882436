package replica

import (
	"context"
	"crypto/rand"
	"fmt"
	"math/big"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/agent/internal/rbd/cephrbd"
)

// BenchmarkTenant measures how long a tenant's random writes of 4 KiB take, one at a time, alone and beside eight writers of a
// copy, with fixed depths, in smaller pieces, and with a governor. It is run by hand, with -benchtime 5x (rounds), on the
// cluster that ATOLL_TEST_CEPH_CONF names, with at least 4 GiB of free space.
func BenchmarkTenant(b *testing.B) {
	conf := os.Getenv("ATOLL_TEST_CEPH_CONF")
	if conf == "" {
		b.Skip("ATOLL_TEST_CEPH_CONF names no cluster")
	}
	const quiet = -1
	modes := []struct {
		name        string
		depth       int
		piece, most int
	}{
		{"alone", quiet, 0, 0},
		{"depth 8", 8, writeSize, 0},
		{"depth 4", 4, writeSize, 0},
		{"depth 2", 2, writeSize, 0},
		{"depth 1", 1, writeSize, 0},
		{"auto", 0, writeSize, 32},
		{"depth 1, 512 KiB", 1, 512 << 10, 0},
		{"depth 1, 128 KiB", 1, 128 << 10, 0},
	}
	t := newTenant(b, conf)
	half, last, rate := map[string][]float64{}, map[string][]float64{}, map[string][]float64{}
	for range b.N {
		for _, m := range modes {
			var v *valve
			if m.depth != quiet {
				v = newValve(m.depth, m.most, time.Now, hclog.NewNullLogger(), prometheus.NewGauge(prometheus.GaugeOpts{}))
			}
			p50, p99, mibs := t.measure(b, v, m.piece)
			half[m.name], last[m.name], rate[m.name] = append(half[m.name], p50), append(last[m.name], p99), append(rate[m.name], mibs)
		}
	}
	median := func(v []float64) float64 { slices.Sort(v); return v[len(v)/2] }
	out := fmt.Sprintf("medians of %d rounds\n%-18s %10s %10s %12s", b.N, "", "p50 ms", "p99 ms", "copy MiB/s")
	for _, m := range modes {
		out += fmt.Sprintf("\n%-18s %10.2f %10.2f %12.0f", m.name, median(half[m.name]), median(last[m.name]), median(rate[m.name]))
	}
	b.Log(out)
}

// tenant is a tenant's disk and the image that a copy goes to, each with a connection of its own.
type tenant struct {
	disk, img rbd.Image
	data      []byte
}

const (
	tenantDisk = 256 << 20
	tenantCopy = 1 << 30
)

func newTenant(b *testing.B, conf string) *tenant {
	b.Helper()
	t := &tenant{data: make([]byte, 8*writeSize)}
	_, _ = rand.Read(t.data)
	for _, i := range []struct {
		img  *rbd.Image
		name string
		size int64
	}{{&t.disk, "tenant", tenantDisk}, {&t.img, "tenant-copy", tenantCopy}} {
		pool, err := cephrbd.Open(context.WithoutCancel(b.Context()), cephrbd.Config{
			ConfFile: conf, User: "atoll", Pool: "images", Log: hclog.NewNullLogger(),
		})
		if err != nil {
			b.Fatal(err)
		}
		_ = pool.Remove(b.Context(), i.name)
		if *i.img, err = pool.Create(b.Context(), i.name, i.size); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			_ = (*i.img).Close()
			if err := pool.Remove(context.WithoutCancel(b.Context()), i.name); err != nil {
				b.Error(err)
			}
			_ = pool.Close()
		})
		for off := int64(0); off < i.size; off += writeSize {
			if err := (*i.img).WriteAt(b.Context(), t.data[:writeSize], off); err != nil {
				b.Fatal(err)
			}
		}
	}
	return t
}

// measure returns percentiles of the tenant's writes in ms and the rate of the copy. Without a valve there is no copy.
func (t *tenant) measure(b *testing.B, v *valve, piece int) (p50, p99, mibs float64) {
	b.Helper()
	const writers = 8
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	var wg sync.WaitGroup
	var written atomic.Int64
	for w := range writers {
		if v == nil {
			break
		}
		wg.Go(func() {
			for off := int64(w * piece); ; off = (off + int64(writers*piece)) % tenantCopy {
				err := v.do(ctx, piece, func() error {
					return t.img.WriteAt(context.WithoutCancel(ctx), t.data[w*piece:(w+1)*piece], off)
				})
				if err != nil {
					if ctx.Err() == nil {
						b.Error(err)
					}
					return
				}
				written.Add(int64(piece))
			}
		})
	}
	var took []time.Duration
	began := time.Now()
	for time.Since(began) < 4*time.Second {
		n, err := rand.Int(rand.Reader, big.NewInt(tenantDisk/4096))
		if err != nil {
			b.Fatal(err)
		}
		at := time.Now()
		if err := t.disk.WriteAt(ctx, t.data[:4096], n.Int64()*4096); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(at))
	}
	mibs = float64(written.Load()) / (1 << 20) / time.Since(began).Seconds()
	stop()
	wg.Wait()
	slices.Sort(took)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return ms(took[len(took)/2]), ms(took[len(took)*99/100]), mibs
}
