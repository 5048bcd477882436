package reconcile

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Sites tells what the sites are like now.
type Sites interface {
	// View returns the live state of a registered store.
	View(*storev1.Store) StoreView
	// Observed returns what the store's site says about an image; nil when it says nothing.
	Observed(store *storev1.Store, id image.ID) *agentv1.ObservedReplica
}

// Config is what a Loop needs.
type Config struct {
	Records  catalog.Records
	Sites    Sites
	Needs    *Needs
	Central  image.StoreID
	Sketches Sketches // nil: bases are chosen by names and properties alone
	Settings Settings
	Metrics  *Metrics // nil: none
	Log      hclog.Logger
	Now      func() time.Time
}

// Loop plans images whenever something about them has changed and writes the result. There is one per hub, and only the
// leading hub's writes are accepted.
type Loop struct {
	Config
	wake chan struct{}

	mu    sync.Mutex
	dirty map[image.ID]struct{}
}

// NewLoop returns a loop.
func NewLoop(c Config) *Loop {
	return &Loop{Config: c, wake: make(chan struct{}, 1), dirty: map[image.ID]struct{}{}}
}

// Touch asks for a look at the images. It never blocks; an image that is waiting already is not queued twice.
func (l *Loop) Touch(ids ...image.ID) {
	l.mu.Lock()
	for _, id := range ids {
		l.dirty[id] = struct{}{}
	}
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *Loop) take() map[image.ID]struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.dirty
	l.dirty = map[image.ID]struct{}{}
	return d
}

// Run looks at every image once and then at what changes, until ctx ends.
func (l *Loop) Run(ctx context.Context) error {
	sub := l.Records.Subscribe()
	defer sub.Close()
	alarms := map[image.ID]time.Time{}
	timer := time.NewTimer(0)
	defer timer.Stop()
	l.touchAll()
	for {
		for id := range l.take() {
			if ctx.Err() != nil {
				return nil
			}
			l.handle(ctx, id, alarms)
		}
		l.Needs.complete() // the first time around these were all images
		timer.Reset(l.untilNext(alarms))
		select {
		case <-ctx.Done():
			return nil
		case <-l.wake:
		case <-sub.C():
			l.touchChanged(sub)
		case <-timer.C:
			now := l.Now()
			for id, at := range alarms {
				if !now.Before(at) {
					delete(alarms, id)
					l.Touch(id)
				}
			}
		}
	}
}

// idle is how long the loop sleeps when no image asked to be looked at again.
const idle = time.Hour

// untilNext returns the time to the earliest alarm.
func (l *Loop) untilNext(alarms map[image.ID]time.Time) time.Duration {
	next := idle
	now := l.Now()
	for _, at := range alarms {
		next = min(next, max(at.Sub(now), 0))
	}
	return next
}

func (l *Loop) touchAll() {
	for _, img := range l.Records.Images() {
		l.Touch(image.ID(img.Id))
	}
}

// touchChanged queues the images that records have changed of.
func (l *Loop) touchChanged(sub catalog.Subscription) {
	keys, reset := sub.Take()
	if reset {
		l.touchAll()
		return
	}
	for _, k := range keys {
		switch k.Kind {
		case catalog.KindImage:
			l.Touch(image.ID(k.ID))
		case catalog.KindReplica:
			l.Touch(k.Image)
		case catalog.KindOperation:
			if o, _ := l.Records.Operation(image.ID(k.ID)); o != nil {
				l.Touch(image.ID(o.ImageId))
			}
		case catalog.KindStore:
			for _, r := range l.Records.StoreReplicas(image.StoreID(k.ID)) {
				l.Touch(image.ID(r.ImageId))
			}
		}
	}
}

// retryAfter is the wait before an image is looked at again whose result could not be written.
const retryAfter = time.Second

// handle plans one image, writes what differs and notes when to look again.
func (l *Loop) handle(ctx context.Context, id image.ID, alarms map[image.ID]time.Time) {
	before, revs := l.load(id)
	if before.Image == nil {
		delete(alarms, id)
		l.Needs.set(id, imageNeed{})
		return
	}
	world := l.world(before)
	after, wake := Plan(before, world)
	if err := l.write(ctx, before, after, revs); err != nil {
		if ctx.Err() == nil && !fault.Is(err, fault.Conflict) {
			l.Log.Warn("plan not written", "image", string(id), "error", err)
		}
		wake = l.Now().Add(retryAfter)
	} else {
		l.report(before, after)
	}
	l.Needs.set(id, needOf(after, world))
	if wake.IsZero() {
		delete(alarms, id)
	} else {
		alarms[id] = wake
	}
}

// revisions are the revisions at which an aggregate was read.
type revisions struct {
	image      int64
	replicas   map[string]int64
	operations map[string]int64
}

func (l *Loop) load(id image.ID) (Aggregate, revisions) {
	revs := revisions{replicas: map[string]int64{}, operations: map[string]int64{}}
	var a Aggregate
	a.Image, revs.image = l.Records.Image(id)
	replicas, rrevs := l.Records.Replicas(id)
	a.Replicas = replicas
	for i, r := range replicas {
		revs.replicas[r.StoreId] = rrevs[i]
	}
	ops, orevs := l.Records.ImageOperations(id)
	a.Operations = ops
	for i, o := range ops {
		revs.operations[o.Id] = orevs[i]
	}
	return a, revs
}

// world collects what the planner may look at for this image.
func (l *Loop) world(a Aggregate) World {
	w := World{
		Now: l.Now(), Central: l.Central, Settings: l.Settings,
		Stores: map[image.StoreID]StoreView{}, Observed: map[image.StoreID]*agentv1.ObservedReplica{},
	}
	w.Base = (&chooser{records: l.Records, sketches: l.Sketches, img: a.Image}).choose
	look := func(name string) {
		id := image.StoreID(name)
		if _, done := w.Stores[id]; done {
			return
		}
		if s, _ := l.Records.Store(id); s != nil {
			w.Stores[id] = l.Sites.View(s)
			w.Observed[id] = l.Sites.Observed(s, image.ID(a.Image.Id))
		}
	}
	for _, r := range a.Replicas {
		look(r.StoreId)
	}
	for _, o := range a.Operations {
		for _, part := range o.Stores {
			look(part.StoreId)
		}
	}
	return w
}

// write commits what differs, at once if it fits into one commit. Else the replicas go first, in batches, then the
// operations and the image, so that an image never says more than its replicas do; but the decision to delete an image
// goes before what it means for the replicas. A crash in between is made up for by the next plan.
func (l *Loop) write(ctx context.Context, before, after Aggregate, revs revisions) error {
	var replicas, rest []catalog.Write
	old := map[string]*storev1.Replica{}
	for _, r := range before.Replicas {
		old[r.StoreId] = r
	}
	id := image.ID(before.Image.Id)
	for _, r := range after.Replicas {
		if !proto.Equal(r, old[r.StoreId]) {
			replicas = append(replicas, catalog.Write{Key: catalog.ReplicaKey(id, image.StoreID(r.StoreId)), Value: r, Revision: revs.replicas[r.StoreId]})
		}
		delete(old, r.StoreId)
	}
	for name := range old {
		replicas = append(replicas, catalog.Write{Key: catalog.ReplicaKey(id, image.StoreID(name)), Revision: revs.replicas[name]})
	}
	for i, o := range after.Operations {
		if !proto.Equal(o, before.Operations[i]) {
			rest = append(rest, catalog.Write{Key: catalog.OperationKey(image.ID(o.Id)), Value: o, Revision: revs.operations[o.Id]})
		}
	}
	if after.Image == nil {
		rest = append(rest, catalog.Write{Key: catalog.ImageKey(id), Revision: revs.image})
	} else if !proto.Equal(after.Image, before.Image) || takes(before, after) {
		rest = append(rest, catalog.Write{Key: catalog.ImageKey(id), Value: after.Image, Revision: revs.image})
	}
	order := [][]catalog.Write{replicas, rest}
	const deleted = storev1.ImageStatus_IMAGE_STATUS_DELETED
	switch {
	case len(replicas)+len(rest) <= catalog.MaxWrites:
		order = [][]catalog.Write{append(replicas, rest...)}
	case after.Image.GetStatus() == deleted && before.Image.Status != deleted:
		slices.Reverse(order)
	}
	for _, part := range order {
		for batch := range slices.Chunk(part, catalog.MaxWrites) {
			if err := l.Records.Commit(ctx, batch...); err != nil {
				return err
			}
		}
	}
	return nil
}

// takes reports whether a copy is given up because others are good. The image is written too then, so that this fails when the
// others are dropped at the same moment.
func takes(before, after Aggregate) bool {
	removing := func(r *storev1.Replica) bool { return r.Repair == repairRemoving }
	return slices.ContainsFunc(after.Replicas, removing) && !slices.ContainsFunc(before.Replicas, removing)
}

// report logs what an operator wants to know of a change.
func (l *Loop) report(before, after Aggregate) {
	old := map[string]*storev1.Replica{}
	for _, r := range before.Replicas {
		old[r.StoreId] = r
	}
	for _, r := range after.Replicas {
		o := old[r.StoreId]
		l.Metrics.changed(o, r)
		if r.BaseImageId != o.GetBaseImageId() {
			l.Log.Info("base chosen", "image", r.ImageId, "store", r.StoreId, "base", r.BaseImageId, "reason", r.BaseReason.String(),
				"percent", r.GetBasePercent())
		}
		if o.GetPhase() == r.Phase && o.GetReason() == r.Reason && o.GetRemoval() == r.Removal {
			continue
		}
		log := l.Log.With("image", r.ImageId, "store", r.StoreId, "phase", phaseName(r.Phase))
		switch {
		case r.Reason != "":
			log.Warn("replica changed", "reason", r.Reason, "message", r.Message, "attempts", r.Attempts)
		default:
			log.Info("replica changed")
		}
	}
	for i, o := range after.Operations {
		if o.State != before.Operations[i].State {
			l.Log.Info("operation ended", "operation", o.Id, "image", o.ImageId, "kind", o.Kind.String(), "state", o.State.String(),
				"reason", o.Error.GetReason(), "message", o.Error.GetMessage())
		}
	}
}

// phaseName returns a phase as users see it.
func phaseName(p storev1.ReplicaPhase) string {
	const prefix = len("REPLICA_PHASE_")
	return p.String()[prefix:]
}
