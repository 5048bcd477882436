package edge

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/agent/internal/rbd/cephrbd"
	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// cephPool opens the pool "images" of the cluster that ATOLL_TEST_CEPH_CONF names, as client.atoll, without an image img1.
func cephPool(tb testing.TB) rbd.Pool {
	tb.Helper()
	conf := os.Getenv("ATOLL_TEST_CEPH_CONF")
	if conf == "" {
		tb.Skip("ATOLL_TEST_CEPH_CONF names no cluster")
	}
	pool, err := cephrbd.Open(tb.Context(), cephrbd.Config{
		ConfFile: conf, User: "atoll", Pool: "images", CloseTimeout: time.Minute, Log: hclog.NewNullLogger(),
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = pool.Remove(context.WithoutCancel(tb.Context()), string(img1))
		if err := pool.Close(); err != nil {
			tb.Error(err)
		}
	})
	_ = pool.Remove(tb.Context(), string(img1))
	return pool
}

// TestRangesOnCeph is TestRangesOfAFile on a real cluster.
func TestRangesOnCeph(t *testing.T) {
	pool := cephPool(t)
	s := newEdgeSite(t, func(c *Config) { c.Pools = map[image.StoreID]rbd.Pool{st0: pool} })
	data := random(21<<20 + 12345)
	clear(data[5<<20 : 14<<20])
	publish(t, pool, img1, data)
	s.cat.Apply(&agentv1.Desired{Replicas: []*agentv1.DesiredReplica{goal(img1, func(d *agentv1.DesiredReplica) {
		d.Metadata.SizeBytes = int64(len(data))
	})}})
	testRanges(t, s, data)
}
