package app

import (
	"github.com/atoll-dcn/atoll/hub/internal/reconcile"
	"github.com/atoll-dcn/atoll/hub/internal/session"
	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// sites shows the sessions to the planner.
type sites struct{ directory *session.Directory }

func (s sites) View(r *storev1.Store) reconcile.StoreView {
	live := s.directory.Store(image.SiteID(r.SiteId), image.StoreID(r.Id))
	return reconcile.StoreView{
		Site: image.SiteID(r.SiteId), Driver: r.Driver, FSID: r.Fsid, Pool: r.Pool,
		Online: live.Online, Since: live.Since, Healthy: live.Status.GetHealthy(), Message: live.Status.GetMessage(),
	}
}

func (s sites) Observed(r *storev1.Store, id image.ID) *agentv1.ObservedReplica {
	return s.directory.Observed(image.SiteID(r.SiteId), id, image.StoreID(r.Id))
}
