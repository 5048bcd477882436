//go:build cgo

package cephrbd

import (
	"context"
	"encoding/json"

	"golang.org/x/sys/unix"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

// directory is the object in which librbd lists the images of a pool.
const directory = "rbd_directory"

// asking is one question for Info, shared by all who wait for the answer, so that health checks of a cluster that does not
// answer take no more than one slot.
type asking struct {
	done chan struct{}
	info rbd.Info // read after done, as is err
	err  error
}

// Info implements rbd.Pool. It reads from the pool's OSDs and asks the monitors for the capacity.
func (p *Pool) Info(ctx context.Context) (rbd.Info, error) {
	if err := ctx.Err(); err != nil {
		return rbd.Info{}, err
	}
	s, err := p.session(ctx, "info")
	if err != nil {
		return rbd.Info{}, err
	}
	defer p.release(s)
	p.mu.Lock()
	a := p.asking
	if a == nil {
		a = &asking{done: make(chan struct{})}
		p.asking = a
		s.refs++
		p.calls.begin("info", p.limit(), func() { p.ask(s, a) })
	}
	p.mu.Unlock()
	select {
	case <-a.done:
		return a.info, a.err
	case <-ctx.Done():
		return rbd.Info{}, ended(ctx, "info")
	}
}

func (p *Pool) ask(s *session, a *asking) {
	defer p.release(s)
	info, err := p.look(s)
	if fault.Is(err, fault.Denied) {
		p.retire(s, "the key is refused") // the next connection reads the key again
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asking = nil
	a.info, a.err = info, err
	close(a.done)
}

func (p *Pool) look(s *session) (rbd.Info, error) {
	// The object need not exist: that the OSD says so is enough.
	if _, err := s.ioctx.Stat(directory); err != nil && errno(err) != unix.ENOENT {
		return rbd.Info{}, p.examine(s, "read from the pool", err)
	}
	if err := p.checkPool(s); err != nil {
		return rbd.Info{}, err
	}
	info := rbd.Info{FSID: s.fsid, Pool: p.config.Pool}
	reply, _, err := s.conn.MonCommand([]byte(`{"prefix":"df","detail":"detail","format":"json"}`))
	if err != nil {
		return rbd.Info{}, p.examine(s, "ask for the capacity", err)
	}
	info.TotalBytes, info.FreeBytes = capacity(reply, s.poolID)
	return info, nil
}

// capacity reads the answer to "df detail": what a pool holds and may still take, with replication and quota counted in.
// Without a manager the cluster knows nothing and the answer lists no pools; both results are 0 then.
func capacity(reply []byte, poolID int64) (total, free int64) {
	var df struct {
		Pools []struct {
			ID    int64 `json:"id"`
			Stats struct {
				Stored   int64 `json:"stored"`
				MaxAvail int64 `json:"max_avail"`
				Quota    int64 `json:"quota_bytes"`
			} `json:"stats"`
		} `json:"pools"`
	}
	if err := json.Unmarshal(reply, &df); err != nil {
		return 0, 0
	}
	for _, pool := range df.Pools {
		if pool.ID != poolID {
			continue
		}
		stored := pool.Stats.Stored
		total, free = stored+pool.Stats.MaxAvail, pool.Stats.MaxAvail
		if quota := pool.Stats.Quota; quota > 0 && quota < total {
			total, free = quota, max(quota-stored, 0)
		}
		return total, free
	}
	return 0, 0
}
