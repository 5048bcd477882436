package session

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/retry"
)

// recordSeen writes down from time to time that the connected sites are there, until ctx ends: a hub that dies without
// warning so leaves behind since when a site is away. The sites take turns, one write each in a round of SeenEvery, so that
// the writes are spread whatever the number of sites; a record is at most two rounds old.
func (s *Service) recordSeen(ctx context.Context) {
	for {
		ids := s.connected()
		pause := s.SeenEvery / time.Duration(max(len(ids), 1))
		if len(ids) == 0 && retry.Sleep(ctx, s.SeenEvery/10) != nil {
			return
		}
		for _, id := range ids {
			if retry.Sleep(ctx, pause) != nil {
				return
			}
			if !s.Directory.Site(id).Connected {
				continue // its end was recorded
			}
			if err := s.Catalog.SawSite(ctx, id); err != nil && !fault.Is(err, fault.NotFound) && ctx.Err() == nil {
				s.Log.Debug("last seen time not recorded", "site", string(id), "error", err)
			}
		}
	}
}

// connected returns the sites that have a session, sorted.
func (s *Service) connected() []image.SiteID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.sessions))
}
