package app

import (
	"time"

	"github.com/atoll-dcn/atoll/hub/internal/bandwidth"
	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/reconcile"
	"github.com/atoll-dcn/atoll/hub/internal/session"
	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// comeBack is how long after the hub's start its agents may take to connect again, unless copies wait for a shorter time.
const comeBack = 5 * time.Minute

// sites shows the sessions to the planner.
type sites struct {
	directory *session.Directory
	read      catalog.Reader
	comeBack  time.Duration
	limiter   *bandwidth.Limiter
}

// View returns the live state of a store. A site that has not come back since the hub started is away since the hub before
// it has last seen it, but gets the time to come back.
func (s sites) View(r *storev1.Store) reconcile.StoreView {
	id := image.SiteID(r.SiteId)
	live := s.directory.Store(id, image.StoreID(r.Id))
	v := reconcile.StoreView{
		Site: id, Driver: r.Driver, FSID: r.Fsid, Pool: r.Pool,
		Online: live.Online, Since: live.Since, Healthy: live.Status.GetHealthy(), Message: live.Status.GetMessage(),
	}
	var since time.Time
	if since, v.Stopped = s.limiter.Stopped(id); v.Stopped != "" {
		v.HoldFrom = since.Add(bandwidth.Grace)
	}
	if live.Seen {
		return v
	}
	v.Expected = live.Since.Add(s.comeBack)
	if site, _ := s.read.Site(id); site.GetLastSeenTime() != nil && site.LastSeenTime.AsTime().Before(v.Since) {
		v.Since = site.LastSeenTime.AsTime()
	}
	return v
}

func (s sites) Observed(r *storev1.Store, id image.ID) *agentv1.ObservedReplica {
	return s.directory.Observed(image.SiteID(r.SiteId), id, image.StoreID(r.Id))
}
