package replica

import (
	"context"
	"crypto/rand"
	"fmt"
	"math/big"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/agent/internal/rbd/cephrbd"
)

// TestTenantOnCeph measures how long a tenant's random writes of 4 KiB take, one at a time, alone and beside eight writers of a
// copy, with fixed depths, gently, and with a governor. It is for the figures only: it runs
// ATOLL_TEST_TENANT_ROUNDS rounds on the cluster that ATOLL_TEST_CEPH_CONF names, with at least 4 GiB of free space.
func TestTenantOnCeph(t *testing.T) {
	conf := os.Getenv("ATOLL_TEST_CEPH_CONF")
	rounds, err := strconv.Atoi(os.Getenv("ATOLL_TEST_TENANT_ROUNDS"))
	if conf == "" || err != nil {
		t.Skip("ATOLL_TEST_CEPH_CONF or ATOLL_TEST_TENANT_ROUNDS is not set")
	}
	const quiet = -2
	modes := []struct {
		name  string
		depth int
	}{{"alone", quiet}, {"depth 8", 8}, {"depth 4", 4}, {"depth 2", 2}, {"depth 1", 1}, {"gentle", WriteGentle}, {"auto", WriteAuto}}
	d := newTenant(t, conf)
	half, last, rate := map[string][]float64{}, map[string][]float64{}, map[string][]float64{}
	for range rounds {
		for _, m := range modes {
			var v *valve
			if m.depth != quiet {
				v = newValve(m.depth, 32, time.Now, hclog.NewNullLogger(), prometheus.NewGauge(prometheus.GaugeOpts{}))
			}
			p50, p99, mibs := d.measure(t, v)
			half[m.name], last[m.name], rate[m.name] = append(half[m.name], p50), append(last[m.name], p99), append(rate[m.name], mibs)
		}
	}
	median := func(v []float64) float64 { slices.Sort(v); return v[len(v)/2] }
	out := fmt.Sprintf("medians of %d rounds\n%-10s %10s %10s %10s", rounds, "", "p50 ms", "p99 ms", "copy MiB/s")
	for _, m := range modes {
		out += fmt.Sprintf("\n%-10s %10.2f %10.2f %10.0f", m.name, median(half[m.name]), median(last[m.name]), median(rate[m.name]))
	}
	t.Log(out)
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

func newTenant(t *testing.T, conf string) *tenant {
	t.Helper()
	d := &tenant{data: make([]byte, 8*writeSize)}
	_, _ = rand.Read(d.data)
	for _, i := range []struct {
		img  *rbd.Image
		name string
		size int64
	}{{&d.disk, "tenant", tenantDisk}, {&d.img, "tenant-copy", tenantCopy}} {
		pool, err := cephrbd.Open(context.WithoutCancel(t.Context()), cephrbd.Config{
			ConfFile: conf, User: "atoll", Pool: "images", Log: hclog.NewNullLogger(),
		})
		if err != nil {
			t.Fatal(err)
		}
		_ = pool.Remove(t.Context(), i.name)
		if *i.img, err = pool.Create(t.Context(), i.name, i.size); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = (*i.img).Close()
			if err := pool.Remove(context.WithoutCancel(t.Context()), i.name); err != nil {
				t.Error(err)
			}
			_ = pool.Close()
		})
		for off := int64(0); off < i.size; off += writeSize {
			if err := (*i.img).WriteAt(t.Context(), d.data[:writeSize], off); err != nil {
				t.Fatal(err)
			}
		}
	}
	return d
}

// measure returns percentiles of the tenant's writes in ms and the rate of the copy. Without a valve there is no copy.
func (d *tenant) measure(t *testing.T, v *valve) (p50, p99, mibs float64) {
	t.Helper()
	const writers = 8
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	var written atomic.Int64
	for w := range writers {
		if v == nil {
			break
		}
		piece := v.piece
		wg.Go(func() {
			for off := int64(w * piece); ctx.Err() == nil; off = (off + int64(writers*piece)) % tenantCopy {
				err := v.do(ctx, piece, func() error {
					return d.img.WriteAt(context.WithoutCancel(ctx), d.data[w*piece:(w+1)*piece], off)
				})
				if err != nil {
					if ctx.Err() == nil {
						t.Error(err)
					}
					return
				}
				written.Add(int64(piece))
			}
		})
	}
	var took []time.Duration
	began := time.Now()
	for time.Since(began) < 3*time.Second {
		n, err := rand.Int(rand.Reader, big.NewInt(tenantDisk/4096))
		if err != nil {
			t.Fatal(err)
		}
		at := time.Now()
		if err := d.disk.WriteAt(ctx, d.data[:4096], n.Int64()*4096); err != nil {
			t.Fatal(err)
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
