// Package session keeps the control links of the agents: what each site should hold goes down, what it sees comes up.
package session

import (
	"sync"
	"time"

	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// key names a replica.
type key struct {
	image image.ID
	store image.StoreID
}

// Site is the live state of one site.
type Site struct {
	Connected bool
	Since     time.Time // of Connected; the start of this process for a site that has not been seen since then
	Address   string
	Version   string
}

// Store is the live state of one store.
type Store struct {
	Online bool // its site is connected and the hub accepts the store from it
	Since  time.Time
	Seen   bool                 // its site has been connected since this process started
	Status *agentv1.StoreStatus // latest report; nil if there was none since this process started
}

// Directory holds the live state of all sites in memory. After a restart of the hub it fills again as agents connect.
// Methods may be called at the same time; returned messages are shared and must not be changed.
type Directory struct {
	now   func() time.Time
	start time.Time
	// changed is told which images the planner should look at; it must not block.
	changed func(...image.ID)

	mu    sync.RWMutex
	sites map[image.SiteID]*site
}

// site is the state of a site that has connected since the start.
type site struct {
	Site
	epoch    uint64
	stores   map[image.StoreID]*agentv1.StoreStatus
	accepted map[image.StoreID]bool
	observed map[key]*agentv1.ObservedReplica
	incoming map[key]*agentv1.ObservedReplica // a snapshot that is still arriving
	rates    map[key]*rate
}

// NewDirectory returns an empty directory. changed is called, without locks held, whenever something about images has
// changed; it must not block.
func NewDirectory(now func() time.Time, changed func(...image.ID)) *Directory {
	return &Directory{now: now, start: now(), changed: changed, sites: map[image.SiteID]*site{}}
}

// Site returns the state of a site.
func (d *Directory) Site(id image.SiteID) Site {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if s := d.sites[id]; s != nil {
		return s.Site
	}
	return Site{Since: d.start}
}

// Store returns the state of a store of a site.
func (d *Directory) Store(id image.SiteID, store image.StoreID) Store {
	d.mu.RLock()
	defer d.mu.RUnlock()
	s := d.sites[id]
	if s == nil {
		return Store{Since: d.start}
	}
	return Store{Online: s.Connected && s.accepted[store], Since: s.Since, Seen: true, Status: s.stores[store]}
}

// Observed returns what a site says about a replica; nil when it has said nothing in its present session.
func (d *Directory) Observed(id image.SiteID, img image.ID, store image.StoreID) *agentv1.ObservedReplica {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if s := d.sites[id]; s != nil && s.Connected {
		return s.observed[key{img, store}]
	}
	return nil
}

// Transfer is how far a site is with a replica.
type Transfer struct {
	Generation uint64 // of the goal it belongs to
	Filling    bool
	Done       int64 // bytes of the image safely at the site
	Total      int64 // length of the image; 0 while unknown
	Received   int64 // bytes that came over the link
	Resumed    int64 // bytes that the site had already
	Saved      int64 // bytes that shorter forms of chunks have saved
	Repaired   int64 // chunks fetched again because they were damaged
	Rate       int64 // recent speed of a fill in bytes per second
	// Left is how long the rest of a fill takes at that speed; 0 while that cannot be told.
	Left time.Duration
}

// Transfer returns the latest figures of a replica; false when its site has reported none in its present session.
func (d *Directory) Transfer(id image.SiteID, img image.ID, store image.StoreID) (Transfer, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	s, k := d.sites[id], key{img, store}
	if s == nil || !s.Connected || s.observed[k].GetProgress() == nil {
		return Transfer{}, false
	}
	o, p, now := s.observed[k], s.observed[k].Progress, d.now()
	return Transfer{
		Generation: o.Generation, Filling: o.State == agentv1.ReplicaState_REPLICA_STATE_FILLING,
		Done: p.BytesDone, Total: p.BytesTotal, Received: p.BytesReceived, Resumed: p.BytesResumed,
		Saved: p.BytesSaved, Repaired: p.ChunksRepaired, Rate: s.rates[k].value(now),
		Left: s.rates[k].left(p.BytesTotal-p.BytesDone, now),
	}, true
}

// open records that a site has connected with a new epoch; what an earlier session reported is forgotten.
func (d *Directory) open(id image.SiteID, epoch uint64, address, version string, statuses []*agentv1.StoreStatus, accepted map[image.StoreID]bool) {
	s := &site{
		Site:  Site{Connected: true, Since: d.now(), Address: address, Version: version},
		epoch: epoch, stores: map[image.StoreID]*agentv1.StoreStatus{}, accepted: accepted,
		observed: map[key]*agentv1.ObservedReplica{}, rates: map[key]*rate{},
	}
	s.keep(statuses)
	d.mu.Lock()
	defer d.mu.Unlock()
	if old := d.sites[id]; old == nil || !old.Connected || old.epoch < epoch { // else a newer session was faster
		d.sites[id] = s
	}
}

// close records that the session with this epoch has ended; a newer session is not touched.
func (d *Directory) close(id image.SiteID, epoch uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.sites[id]; s != nil && s.epoch == epoch {
		s.Connected, s.Since = false, d.now()
		s.observed, s.incoming, s.rates = nil, nil, nil
	}
}

// keep takes over the state of the stores that the hub accepts from the site.
func (s *site) keep(statuses []*agentv1.StoreStatus) {
	for _, st := range statuses {
		if s.accepted[image.StoreID(st.StoreId)] {
			s.stores[image.StoreID(st.StoreId)] = st
		}
	}
}

// drop forgets a site that has been deleted; one that is connected is dropped when its session has ended.
func (d *Directory) drop(id image.SiteID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.sites[id]; s != nil && !s.Connected {
		delete(d.sites, id)
	}
}

// report takes over a message of the session with this epoch. Replicas that are not known, which is asked with a lock held,
// are left out, so that what an agent says cannot fill the memory; strangers is how many these were. A replica that is
// removed later is forgotten by forget.
func (d *Directory) report(id image.SiteID, epoch uint64, o *agentv1.Observed, known func(key) bool) (strangers int) {
	var dirty []image.ID
	d.mu.Lock()
	if s := d.sites[id]; s != nil && s.epoch == epoch && s.Connected {
		s.keep(o.Stores)
		dirty, strangers = s.take(o, known, d.now())
	}
	d.mu.Unlock()
	if len(dirty) > 0 {
		d.changed(dirty...)
	}
	return strangers
}

// take applies the known replicas of a message. It returns the images that look different now and how many replicas it has
// left out.
func (s *site) take(o *agentv1.Observed, known func(key) bool, now time.Time) (dirty []image.ID, strangers int) {
	if o.Snapshot {
		s.incoming = map[key]*agentv1.ObservedReplica{}
	}
	into := s.observed
	if s.incoming != nil {
		into = s.incoming
	}
	for _, r := range o.Replicas {
		k := key{image.ID(r.ImageId), image.StoreID(r.StoreId)}
		if !s.accepted[k.store] || !known(k) {
			strangers++
			continue
		}
		into[k] = r
		dirty = append(dirty, k.image)
		if r.State == agentv1.ReplicaState_REPLICA_STATE_FILLING {
			if s.rates[k] == nil {
				s.rates[k] = &rate{}
			}
			s.rates[k].add(r.Progress.GetBytesDone()-r.Progress.GetBytesResumed(), now) // what was there already took no time
		} else {
			delete(s.rates, k)
		}
	}
	if s.incoming == nil || o.More {
		return dirty, strangers
	}
	for k := range s.observed {
		dirty = append(dirty, k.image)
	}
	for k := range s.incoming {
		dirty = append(dirty, k.image)
	}
	s.observed, s.incoming = s.incoming, nil
	return dirty, strangers
}

// forget drops what a site says about a replica that has no record any more.
func (d *Directory) forget(id image.SiteID, k key) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.sites[id]; s != nil {
		delete(s.observed, k)
		delete(s.incoming, k)
		delete(s.rates, k)
	}
}
