// Package reconcile brings the catalog and the sites together: a pure planner decides from the records of one image and
// from what the sites report what the records become; a loop carries the decision out.
//
// The planner is level-triggered. It looks only at what is, never at what happened, so a lost or repeated message or a
// restart at any moment costs time and nothing else.
package reconcile

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Aggregate is everything the catalog knows about one image. A nil Image, or a replica that is missing, has no record.
type Aggregate struct {
	Image      *storev1.Image
	Replicas   []*storev1.Replica   // sorted by store
	Operations []*storev1.Operation // those that are not done, oldest first
}

// World is what the planner may look at besides the records.
type World struct {
	Now      time.Time
	Central  image.StoreID
	Stores   map[image.StoreID]StoreView
	Observed map[image.StoreID]*agentv1.ObservedReplica // what the sites report about this image
	Settings Settings
	// Base chooses what a copy in a store is made of. When nil nothing is chosen.
	Base func(image.StoreID) Base
}

// StoreView is the state of one registered store.
type StoreView struct {
	Site     image.SiteID
	Driver   string
	FSID     string
	Pool     string
	Online   bool      // the site's agent is connected and accepts this store
	Since    time.Time // since when Online has its value
	Expected time.Time // until then a site that is not online is expected back whatever Since says; zero: not
	Healthy  bool      // the agent can reach the pool
	Message  string    // why not
	Stopped  string    // why no data may move to and from the site; empty: it may
	HoldFrom time.Time // when Stopped: from when on its site is told to leave unfinished copies as they are
}

// Settings are the operator's choices.
type Settings struct {
	OfflineTimeout time.Duration // a copy that waits longer for its site has failed (default 24 h)
	CheckTimeout   time.Duration // a removal waits this long for a connected site's answer before it leaves a tombstone
	RetryInitial   time.Duration // wait before the second attempt
	RetryMax       time.Duration // longest wait between attempts
	MaxAttempts    int32         // a retryable failure is final after so many attempts
	StagedTimeout  time.Duration // staged data that nobody imports is dropped
	ScrubPeriod    time.Duration // a copy is proven again at least this often; 0: only when asked for
	ScrubParallel  int           // verifications at once at a site that the hub begins by itself
	Repair         bool          // damaged copies are made again without being asked for
}

// DefaultSettings are those of an installation that says nothing.
func DefaultSettings() Settings {
	return Settings{
		OfflineTimeout: 24 * time.Hour, CheckTimeout: time.Minute,
		RetryInitial: 5 * time.Second, RetryMax: 5 * time.Minute, MaxAttempts: 300,
		StagedTimeout: 24 * time.Hour, ScrubPeriod: 7 * 24 * time.Hour, ScrubParallel: 1, Repair: true,
	}
}

// Plan returns what the records should become and when to look again even if nothing changes (zero: never). It has no
// side effects and does not change its arguments. Its result is planned again until nothing changes any more.
func Plan(a Aggregate, w World) (Aggregate, time.Time) {
	if a.Image == nil {
		return a, time.Time{}
	}
	p := &planner{w: w, img: proto.CloneOf(a.Image), replicas: map[image.StoreID]*storev1.Replica{}}
	for _, r := range a.Replicas {
		p.replicas[image.StoreID(r.StoreId)] = proto.CloneOf(r)
	}
	for _, o := range a.Operations {
		p.ops = append(p.ops, proto.CloneOf(o))
	}
	p.run()
	return p.result(), p.wake
}

// planner holds copies of the records while they are changed.
type planner struct {
	w        World
	img      *storev1.Image
	replicas map[image.StoreID]*storev1.Replica
	ops      []*storev1.Operation
	wake     time.Time
	gone     bool // the image record is no longer needed
}

// run applies the rules in the order in which one feeds the next.
func (p *planner) run() {
	p.dropStoreless()
	p.createReplicas()
	p.raiseReplicas()
	p.chooseBases()
	for _, s := range p.stores() {
		p.planReplica(s)
	}
	p.planRepairs()
	p.planImageDelete()
	for _, s := range p.stores() {
		p.planRemoval(s)
	}
	for _, o := range p.ops {
		p.planOperation(o)
	}
	p.planImage()
}

// result returns the records as they are now, in the order of Aggregate.
func (p *planner) result() Aggregate {
	out := Aggregate{Image: p.img, Operations: p.ops}
	if p.gone {
		out.Image = nil
	}
	for _, s := range p.stores() {
		out.Replicas = append(out.Replicas, p.replicas[s])
	}
	return out
}

// stores returns the stores that have a replica record, sorted.
func (p *planner) stores() []image.StoreID {
	ids := make([]image.StoreID, 0, len(p.replicas))
	for s := range p.replicas {
		ids = append(ids, s)
	}
	slices.Sort(ids)
	return ids
}

// wakeAt asks for another look at t.
func (p *planner) wakeAt(t time.Time) {
	if p.wake.IsZero() || t.Before(p.wake) {
		p.wake = t
	}
}

// after reports whether d has passed since t, and asks to be woken when it will have.
func (p *planner) after(t time.Time, d time.Duration) bool {
	due := t.Add(d)
	if p.w.Now.Before(due) {
		p.wakeAt(due)
		return false
	}
	return true
}

// givenUp reports whether a store that is not online has been waited for long enough since t. A hub that has just started
// gives the agents time to come back.
func (p *planner) givenUp(view StoreView, t time.Time) bool {
	due := t.Add(p.w.Settings.OfflineTimeout)
	if view.Expected.After(due) {
		due = view.Expected
	}
	return p.after(due, 0)
}

// observed returns what the site says about the replica as it is wanted now; nil when it has not answered that yet.
func (p *planner) observed(r *storev1.Replica) *agentv1.ObservedReplica {
	o := p.w.Observed[image.StoreID(r.StoreId)]
	if o == nil || o.Generation != r.Generation || !p.w.Stores[image.StoreID(r.StoreId)].Online {
		return nil
	}
	return o
}

// dropStoreless drops the copies in stores that are not registered any more: their site has been deleted, maybe while the
// copy was asked for, and there is nobody left to remove them.
func (p *planner) dropStoreless() {
	for _, s := range p.stores() {
		if _, known := p.w.Stores[s]; known {
			continue
		}
		delete(p.replicas, s)
		for _, o := range p.ops {
			catalog.LoseStore(o, string(s))
		}
	}
}

// createReplicas makes a pending replica for each running part of an operation that has none yet.
func (p *planner) createReplicas() {
	if p.img.Status == storev1.ImageStatus_IMAGE_STATUS_DELETING || p.img.Status == storev1.ImageStatus_IMAGE_STATUS_DELETED {
		return
	}
	for _, o := range p.ops {
		if !fills(o) || o.Kind == storev1.OperationKind_OPERATION_KIND_IMPORT && p.img.Content.GetId() == "" { // or waits for its turn to be fetched
			continue
		}
		for _, part := range o.Stores {
			s := image.StoreID(part.StoreId)
			view, known := p.w.Stores[s]
			if part.State != storev1.OperationState_OPERATION_STATE_RUNNING || part.Created || part.Joined || !known {
				continue
			}
			if r := p.replicas[s]; r != nil {
				// One that is being removed is waited for.
				part.Joined = r.Removal == storev1.Removal_REMOVAL_UNSPECIFIED
				continue
			}
			part.Created = true
			p.replicas[s] = &storev1.Replica{
				ImageId: p.img.Id, StoreId: part.StoreId, SiteId: string(view.Site),
				Phase: storev1.ReplicaPhase_REPLICA_PHASE_PENDING, PhaseTime: catalog.Stamp(p.w.Now), CreateTime: catalog.Stamp(p.w.Now),
				Generation: catalog.NextGeneration(0, p.w.Now), ContentId: p.img.Content.GetId(), Priority: o.Priority,
			}
		}
	}
}

// fills reports whether the operation wants replicas to exist.
func fills(o *storev1.Operation) bool {
	return o.State == storev1.OperationState_OPERATION_STATE_RUNNING &&
		o.Undoing == storev1.OperationState_OPERATION_STATE_UNSPECIFIED &&
		(o.Kind == storev1.OperationKind_OPERATION_KIND_IMPORT || o.Kind == storev1.OperationKind_OPERATION_KIND_COPY)
}
