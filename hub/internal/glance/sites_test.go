package glance

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/reconcile"
	"github.com/atoll-dcn/atoll/hub/internal/session"
	"github.com/atoll-dcn/atoll/hub/internal/staging"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// fakeSite is a site with one store of the same name.
type fakeSite struct {
	online, healthy bool
	failure         *agentv1.Failure  // answer to whatever is to be filled
	stuck           bool              // fills do not end
	progress        *agentv1.Progress // of fills that do not end
	silent          bool              // never answers whether a copy may go
	mute            bool              // sends nothing of what it is asked for
	clones          map[image.ID]bool
	foreign         map[image.ID]*agentv1.Adoption // copies of others
	data            map[image.ID][]byte            // published copies
	observed        map[image.ID]*agentv1.ObservedReplica
}

// fakeSites plays the agents of all sites: they do at once what they are told.
type fakeSites struct {
	catalog *catalog.Catalog
	area    *staging.Area
	loop    *reconcile.Loop
	needs   *reconcile.Needs
	kick    chan struct{}

	mu    sync.Mutex
	sites map[string]*fakeSite
	asked []string // which sites were asked to send, in order
}

func newFakeSites(c *catalog.Catalog, records catalog.Records, area *staging.Area, names ...string) *fakeSites {
	f := &fakeSites{catalog: c, area: area, kick: make(chan struct{}, 1), sites: map[string]*fakeSite{}}
	for _, name := range names {
		f.sites[name] = &fakeSite{
			online: true, healthy: true, progress: &agentv1.Progress{}, clones: map[image.ID]bool{}, foreign: map[image.ID]*agentv1.Adoption{},
			data: map[image.ID][]byte{}, observed: map[image.ID]*agentv1.ObservedReplica{},
		}
	}
	settings := reconcile.DefaultSettings()
	settings.RetryInitial, settings.RetryMax = 10*time.Millisecond, 20*time.Millisecond
	f.needs = reconcile.NewNeeds(records, area, f.offer, hclog.NewNullLogger())
	f.loop = reconcile.NewLoop(reconcile.Config{
		Records: records, Sites: f, Needs: f.needs, Central: c.Central(), Settings: settings, Log: hclog.NewNullLogger(), Now: time.Now,
	})
	return f
}

// change changes a site and lets everybody look again.
func (f *fakeSites) change(name string, change func(*fakeSite)) {
	f.mu.Lock()
	change(f.sites[name])
	f.mu.Unlock()
	for _, img := range f.catalog.Read().Images() {
		f.loop.Touch(image.ID(img.Id))
	}
	f.wake()
}

func (f *fakeSites) wake() {
	select {
	case f.kick <- struct{}{}:
	default:
	}
}

// copied returns what a store has published of an image; nil for nothing.
func (f *fakeSites) copied(name string, id image.ID) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sites[name].data[id]
}

// run plays until ctx ends.
func (f *fakeSites) run(ctx context.Context) {
	sub := f.catalog.Subscribe()
	defer sub.Close()
	for {
		for _, img := range f.catalog.Read().Images() {
			replicas, _ := f.catalog.Read().Replicas(image.ID(img.Id))
			for _, r := range replicas {
				f.act(ctx, img, r)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-f.kick:
		case <-sub.C():
			sub.Take()
		}
	}
}

// act carries out what one site is told about one image.
func (f *fakeSites) act(ctx context.Context, img *storev1.Image, r *storev1.Replica) {
	id := image.ID(img.Id)
	d := reconcile.Desired(img, r)
	o := &agentv1.ObservedReplica{ImageId: r.ImageId, StoreId: r.StoreId, Generation: d.Generation, ContentId: d.Content.ContentId}
	f.mu.Lock()
	s := f.sites[r.SiteId]
	old := s.observed[id]
	if !s.online || old != nil && old.Generation == d.Generation && !unfinished(old.State) {
		f.mu.Unlock()
		return
	}
	fill := false
	switch d.Goal {
	case agentv1.Goal_GOAL_PRESENT:
		fill = s.present(id, r, o)
	case agentv1.Goal_GOAL_ADOPTED:
		if o.State, o.Adoption = agentv1.ReplicaState_REPLICA_STATE_ABSENT, s.foreign[id]; o.Adoption != nil {
			o.State = agentv1.ReplicaState_REPLICA_STATE_PRESENT
		}
	case agentv1.Goal_GOAL_CONDEMNED:
		switch {
		case s.silent:
			f.mu.Unlock()
			return
		case s.clones[id]:
			o.State = agentv1.ReplicaState_REPLICA_STATE_IN_USE
		default:
			o.State = agentv1.ReplicaState_REPLICA_STATE_CONDEMNED
		}
	case agentv1.Goal_GOAL_ABSENT:
		delete(s.data, id)
		o.State = agentv1.ReplicaState_REPLICA_STATE_ABSENT
	default:
		f.mu.Unlock()
		return
	}
	f.mu.Unlock()
	if fill && img.Content.GetComplete() {
		if data, err := f.read(ctx, img); err == nil {
			f.mu.Lock()
			s.data[id] = data
			f.mu.Unlock()
			o.State = agentv1.ReplicaState_REPLICA_STATE_PRESENT
		}
	}
	f.mu.Lock()
	same := old != nil && old.State == o.State && old.Generation == o.Generation
	s.observed[id] = o
	f.mu.Unlock()
	if !same {
		f.loop.Touch(id)
	}
}

func unfinished(s agentv1.ReplicaState) bool {
	return s == agentv1.ReplicaState_REPLICA_STATE_FILLING || s == agentv1.ReplicaState_REPLICA_STATE_ABSENT
}

// present answers the goal to have a copy, and reports whether it is to be filled now. Lock held.
func (s *fakeSite) present(id image.ID, r *storev1.Replica, o *agentv1.ObservedReplica) (fill bool) {
	switch {
	case s.failure != nil:
		o.State, o.Failure = agentv1.ReplicaState_REPLICA_STATE_FAILED, s.failure
	case s.data[id] != nil || r.Adopted:
		o.State = agentv1.ReplicaState_REPLICA_STATE_PRESENT
	default:
		o.State, o.Progress = agentv1.ReplicaState_REPLICA_STATE_FILLING, proto.CloneOf(s.progress)
		return !s.stuck
	}
	return false
}

// read gets the data of an image from the staging area, as agents do.
func (f *fakeSites) read(ctx context.Context, img *storev1.Image) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	data := []byte{}
	buf := make([]byte, manifest.ChunkSize)
	for i := range manifest.Count(img.Content.SizeBytes) {
		c, err := f.area.ReadChunk(ctx, image.ID(img.Content.Id), i, buf)
		if err != nil {
			return nil, err
		}
		data = append(data, c...)
	}
	return data, nil
}

// offer sends to the staging area what it asks for.
func (f *fakeSites) offer(offers map[image.SiteID][]*agentv1.Offer) {
	for site, list := range offers {
		for _, o := range list {
			f.mu.Lock()
			f.asked = append(f.asked, string(site))
			mute := f.sites[string(site)].mute
			f.mu.Unlock()
			if mute {
				continue
			}
			data := f.copied(string(site), image.ID(o.ImageId))
			for i := 0; i*manifest.ChunkSize < len(data); i++ {
				raw := data[i*manifest.ChunkSize : min(len(data), (i+1)*manifest.ChunkSize)]
				if frame.IsZero(raw) {
					continue
				}
				h := frame.Header{Codec: frame.Raw, Raw: len(raw), Payload: len(raw)}
				_ = f.area.PutFrame(context.Background(), image.ID(o.Content.ContentId), i, append(h.Append(nil), raw...)) // it asks again
			}
		}
	}
}

// View implements reconcile.Sites.
func (f *fakeSites) View(st *storev1.Store) reconcile.StoreView {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.sites[st.SiteId]
	return reconcile.StoreView{
		Site: image.SiteID(st.SiteId), Driver: st.Driver, FSID: st.Fsid, Pool: st.Pool, Online: s.online, Since: start, Healthy: s.healthy,
	}
}

// Observed implements reconcile.Sites.
func (f *fakeSites) Observed(st *storev1.Store, id image.ID) *agentv1.ObservedReplica {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.sites[st.SiteId]; s.online {
		return s.observed[id]
	}
	return nil
}

// Site implements Directory.
func (f *fakeSites) Site(id image.SiteID) session.Site {
	f.mu.Lock()
	defer f.mu.Unlock()
	return session.Site{Connected: f.sites[string(id)].online, Since: start}
}

// Store implements Directory.
func (f *fakeSites) Store(id image.SiteID, _ image.StoreID) session.Store {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.sites[string(id)]
	return session.Store{Online: s.online, Since: start, Status: &agentv1.StoreStatus{Healthy: s.healthy}}
}

// Transfer implements Directory.
func (f *fakeSites) Transfer(id image.SiteID, img image.ID, _ image.StoreID) (session.Transfer, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.sites[string(id)].observed[img]
	if o.GetProgress() == nil {
		return session.Transfer{}, false
	}
	return session.Transfer{
		Generation: o.Generation, Filling: true, Done: o.Progress.BytesDone, Total: o.Progress.BytesTotal, Rate: 3 << 20,
	}, true
}
