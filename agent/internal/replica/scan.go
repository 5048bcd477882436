package replica

import (
	"context"

	"github.com/atoll-dcn/atoll/pkg/retry"
)

// scanStore looks for garbage after each complete snapshot of desired state: unpublished images and journals of replicas
// that nobody wants.
func (m *Manager) scanStore(ctx context.Context, s *store) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.scan:
		}
		for {
			found, err := s.garbage(ctx, m)
			if err == nil {
				m.forgetGarbage(found)
				break
			}
			m.log.Debug("garbage not looked for", "store", s.id, "error", err)
			if retry.Sleep(ctx, jitter(m.pace.healthy)) != nil {
				return
			}
		}
	}
}

// garbage returns the replicas of which the store or the journal holds something unpublished.
func (s *store) garbage(ctx context.Context, m *Manager) ([]key, error) {
	names, err := s.pool.List(ctx)
	if err != nil {
		return nil, err
	}
	found, err := m.cfg.Journal.Keys()
	if err != nil {
		return nil, err
	}
	if m.cfg.Sums != nil {
		more, err := m.cfg.Sums.Keys()
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	for _, n := range names {
		if id, ok := unpublished(n); ok {
			found = append(found, key{Store: s.id, Image: id})
		}
	}
	return found, nil
}

// forgetGarbage makes those of the replicas forgotten that are not wanted. While a snapshot is arriving nothing is known
// to be unwanted; its end starts another scan.
func (m *Manager) forgetGarbage(found []key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.inbox.seen != nil || !m.complete {
		return
	}
	for _, k := range found {
		if m.replicas[k] == nil {
			m.addLocked(k).interruptLocked()
			m.ready[k] = struct{}{}
		}
	}
	signal(m.kick)
}
