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
// copy, with fixed depths, in smaller pieces, with pauses, and with a governor. It is for the figures only: it runs
// ATOLL_TEST_TENANT_ROUNDS rounds on the cluster that ATOLL_TEST_CEPH_CONF names, with at least 4 GiB of free space.
func TestTenantOnCeph(b *testing.T) {
	conf := os.Getenv("ATOLL_TEST_CEPH_CONF")
	rounds, err := strconv.Atoi(os.Getenv("ATOLL_TEST_TENANT_ROUNDS"))
	if conf == "" || err != nil {
		b.Skip("ATOLL_TEST_CEPH_CONF or ATOLL_TEST_TENANT_ROUNDS is not set")
	}
	const quiet = -2
	modes := []struct {
		name      string
		depth     int
		tolerance float64
	}{
		{"alone", quiet, 0}, {"depth 8", 8, 0}, {"depth 4", 4, 0}, {"depth 2", 2, 0}, {"depth 1", 1, 0}, {"gentle", WriteGentle, 0}, {"auto", WriteAuto, 2}, {"auto3", WriteAuto, 3}, {"auto4", WriteAuto, 4},
	}
	t := newTenant(b, conf)
	half, last, rate, idle := map[string][]float64{}, map[string][]float64{}, map[string][]float64{}, map[string][]float64{}
	for range rounds {
		for _, m := range modes {
			valve := func() *valve {
				if m.depth == quiet {
					return nil
				}
				v := newValve(m.depth, 32, time.Now, hclog.NewNullLogger(), prometheus.NewGauge(prometheus.GaugeOpts{}))
				if v.gov != nil {
					v.gov.tolerance = m.tolerance
				}
				return v
			}
			p50, p99, mibs := t.measure(b, valve(), true)
			half[m.name], last[m.name], rate[m.name] = append(half[m.name], p50), append(last[m.name], p99), append(rate[m.name], mibs)
			_, _, mibs = t.measure(b, valve(), false)
			idle[m.name] = append(idle[m.name], mibs)
		}
	}
	median := func(v []float64) float64 { slices.Sort(v); return v[len(v)/2] }
	out := fmt.Sprintf("medians of %d rounds\n%-12s %10s %10s %10s %18s", rounds, "", "p50 ms", "p99 ms", "copy MiB/s", "without tenant")
	for _, m := range modes {
		out += fmt.Sprintf("\n%-12s %10.2f %10.2f %10.0f %18.0f", m.name, median(half[m.name]), median(last[m.name]), median(rate[m.name]), median(idle[m.name]))
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

func newTenant(b *testing.T, conf string) *tenant {
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

// measure returns percentiles of the tenant's writes in ms, if there is one, and the rate of the copy. Without a valve there is
// no copy.
func (t *tenant) measure(b *testing.T, v *valve, busy bool) (p50, p99, mibs float64) {
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
		piece := v.piece
		wg.Go(func() {
			for off := int64(w * piece); ctx.Err() == nil; off = (off + int64(writers*piece)) % tenantCopy {
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
		if !busy {
			<-time.After(100 * time.Millisecond)
			continue
		}
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
	if !busy {
		return 0, 0, mibs
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return ms(took[len(took)/2]), ms(took[len(took)*99/100]), mibs
}
