package app

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/agent/internal/rbd/cephrbd"
	"github.com/atoll-dcn/atoll/agent/internal/rbd/filerbd"
	"github.com/atoll-dcn/atoll/agent/internal/replica"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
)

// pools are the open stores of the site.
type pools []pool

type pool struct {
	id     image.StoreID
	name   string
	verify string // replica.VerifyChecksums or VerifyRead
	depth  int    // of writes, see replica.Store
	rbd.Pool
}

// openPools opens every store. A cluster that is away is no error: its store is unhealthy until it is there.
func openPools(ctx context.Context, stateDir string, stores []StoreConfig, log hclog.Logger) (_ pools, err error) {
	var ps pools
	defer func() {
		if err != nil {
			ps.close(&err)
		}
	}()
	for i, s := range stores {
		p, err := openPool(ctx, stateDir, s, log.With("store", s.ID))
		if err != nil {
			return ps, fmt.Errorf("stores[%d]: %w", i, err)
		}
		name := s.Pool
		if name == "" {
			name = s.ID
		}
		ps = append(ps, pool{id: image.StoreID(s.ID), name: name, verify: s.Verify, depth: s.depth, Pool: p})
	}
	return ps, nil
}

func openPool(ctx context.Context, stateDir string, s StoreConfig, log hclog.Logger) (rbd.Pool, error) {
	if s.Driver == driverFile {
		return filerbd.Open(s.Path) //nolint:contextcheck // looks at one local directory
	}
	c := cephrbd.Config{
		ConfFile: s.CephConf, User: s.User, Pool: s.Pool, Log: log.Named("ceph"),
		ClientsFile: filepath.Join(stateDir, "ceph-clients-"+s.ID), // ours alone: the state directory is locked
	}
	if len(s.Features) > 0 {
		var err error
		if c.Features, err = cephrbd.ParseFeatures("features", s.Features); err != nil {
			return nil, err
		}
	}
	return cephrbd.Open(ctx, c)
}

func (ps pools) stores() map[image.StoreID]replica.Store {
	out := map[image.StoreID]replica.Store{}
	for _, p := range ps {
		out[p.id] = replica.Store{Pool: p.Pool, Name: p.name, Verify: p.verify, WriteDepth: p.depth}
	}
	return out
}

// byID returns the pools without what the Manager wants to know of them.
func (ps pools) byID() map[image.StoreID]rbd.Pool {
	out := map[image.StoreID]rbd.Pool{}
	for _, p := range ps {
		out[p.id] = p.Pool
	}
	return out
}

func (ps pools) close(err *error) {
	for _, p := range ps {
		closing(err, p)
	}
}

// watchEvery is how often the stores are looked at for calls that hang.
const watchEvery = 10 * time.Second

// watch fails when a call into a store's library hangs far beyond its own timeouts: only a new process gets rid of it.
// What was being written resumes there.
func (ps pools) watch(ctx context.Context, log hclog.Logger) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, p := range ps {
			s, ok := p.Pool.(interface {
				Stalled() (n int, operation string, oldest time.Duration)
			})
			if !ok {
				continue
			}
			if n, operation, oldest := s.Stalled(); n > 0 {
				log.Error("calls into the store hang", "store", string(p.id), "calls", n, "operation", operation, "oldest", oldest.String())
				return fault.New(fault.Unavailable, "STORE_HANGS", "%d calls into store %s hang; start the agent again", n, p.id)
			}
		}
	}
}
