package reconcile

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/catalog/catalogtest"
	"github.com/atoll-dcn/atoll/hub/internal/staging"
	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// sim is a hub and its sites without any I/O: the real catalog, planner and loop, and a model of an agent.
type sim struct {
	records *catalogtest.Records
	catalog *catalog.Catalog
	loop    *Loop
	scrubs  *Scrubs
	now     time.Time
	stores  map[image.StoreID]*simStore
	images  []image.ID
	broken  bool // verifications cannot be carried out
	alarms  map[image.ID]time.Time
}

// simStore is one site with one store.
type simStore struct {
	online   bool
	since    time.Time
	copies   map[image.ID]*simCopy
	observed map[image.ID]*agentv1.ObservedReplica
}

// simCopy is what the pool of a site really holds of an image.
type simCopy struct {
	published string // content id
	condemned string
	partial   string
	clones    int
	damaged   bool
	proof     *agentv1.Verification // the latest verification, or the check before publishing
	failed    uint64                // generation whose attempt has failed
	foreign   simForeign
}

const central = image.StoreID("central")

// noStaging is a staging area that needs nothing.
type noStaging struct{}

func (noStaging) SetNeeds(map[image.ID]staging.Need) {}
func (noStaging) Wants() []image.ID                  { return nil }
func (noStaging) WantsChanged() <-chan struct{}      { return nil }
func (noStaging) Contents() []staging.Info           { return nil }
func (noStaging) Forget(image.ID)                    {}
func (noStaging) Has(image.ID) bool                  { return true }

func newSim(tb interface{ Fatal(...any) }) *sim {
	s := &sim{
		records: catalogtest.New(), now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		stores: map[image.StoreID]*simStore{}, alarms: map[image.ID]time.Time{},
	}
	clock := func() time.Time { return s.now }
	s.catalog = catalog.New(s.records, central, catalog.DefaultLimits(), clock)
	needs := NewNeeds(s.records, noStaging{}, func(map[image.SiteID][]*agentv1.Offer) {}, hclog.NewNullLogger())
	s.loop = NewLoop(Config{
		Records: s.records, Sites: s, Needs: needs, Central: central, Settings: DefaultSettings(), Log: hclog.NewNullLogger(), Now: clock,
	})
	s.scrubs = NewScrubs(s.loop.Config)
	for _, id := range []image.StoreID{central, "dcn0", "dcn1"} {
		s.stores[id] = &simStore{online: true, since: s.now, copies: map[image.ID]*simCopy{}, observed: map[image.ID]*agentv1.ObservedReplica{}}
		s.build(tb, id)
	}
	return s
}

// build registers a site and its store.
func (s *sim) build(tb interface{ Fatal(...any) }, id image.StoreID) {
	if _, err := s.catalog.CreateSite(context.Background(), image.SiteID(id), ""); err != nil {
		tb.Fatal(err)
	}
	status := &agentv1.StoreStatus{StoreId: string(id), Driver: "ceph", Fsid: "fsid-" + string(id), Pool: "images"}
	if err := s.catalog.RegisterStore(context.Background(), image.SiteID(id), status); err != nil {
		tb.Fatal(err)
	}
}

func (s *sim) View(r *storev1.Store) StoreView {
	st := s.stores[image.StoreID(r.Id)]
	return StoreView{Site: image.SiteID(r.SiteId), Driver: r.Driver, FSID: r.Fsid, Pool: r.Pool, Online: st.online, Since: st.since, Healthy: true}
}

func (s *sim) Observed(r *storev1.Store, id image.ID) *agentv1.ObservedReplica {
	return s.stores[image.StoreID(r.Id)].observed[id]
}

// plan lets the loop look at an image once. It panics when a damaged copy is given up although no other store has a good one.
func (s *sim) plan(id image.ID) {
	before, _ := s.records.Replicas(id)
	s.loop.handle(context.Background(), id, s.alarms)
	for _, old := range before {
		r, _ := s.records.Replica(id, image.StoreID(old.StoreId))
		if r.GetRepair() != repairRemoving || old.Repair == repairRemoving {
			continue
		}
		others := slices.DeleteFunc(s.storeIDs(), func(other image.StoreID) bool {
			o, _ := s.records.Replica(id, other)
			return string(other) == r.StoreId || o.GetPhase() != storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE || !s.stores[other].online
		})
		if c := s.stores[image.StoreID(r.StoreId)].copies[id]; !c.damaged || len(others) == 0 {
			panic(fmt.Sprintf("the last copy is given up: %v, %+v", r, *c))
		}
	}
}

// settle plans and lets agents act until nothing changes any more; time does not pass.
func (s *sim) settle() {
	for range 200 {
		before := s.records.Commits()
		changed := false
		for _, id := range s.images {
			s.plan(id)
			for _, store := range s.storeIDs() {
				changed = s.agent(store, id, "") || changed
			}
		}
		if !changed && s.records.Commits() == before {
			return
		}
	}
	panic("does not settle")
}

func (s *sim) storeIDs() []image.StoreID { return slices.Sorted(maps.Keys(s.stores)) }

// agent makes one step of an agent for one image and reports whether anything changed. fault is the reason with which an
// attempt to write fails; empty: it does not.
func (s *sim) agent(store image.StoreID, id image.ID, fault string) bool {
	st := s.stores[store]
	if !st.online {
		return false
	}
	c := s.copyOf(store, id)
	r, _ := s.records.Replica(id, store)
	if r == nil {
		changed := c.partial != ""
		c.partial = ""
		delete(st.observed, id)
		return changed
	}
	img, _ := s.records.Image(id)
	d := Desired(img, r)
	before := fmt.Sprintf("%+v %v", *c, st.observed[id])
	o := &agentv1.ObservedReplica{ImageId: string(id), StoreId: string(store), Generation: d.Generation, ContentId: d.Content.ContentId}
	taken := c.published != "" || c.foreign.there && d.Adopted // goes by our hand
	c.foreign.adopted = c.foreign.adopted || r.Adopted && r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE
	removes := d.Goal == agentv1.Goal_GOAL_CONDEMNED || d.Goal == agentv1.Goal_GOAL_ABSENT
	if removes && c.foreign.there && taken && !c.foreign.adopted {
		panic("a copy that was never adopted is treated as ours")
	}
	switch d.Goal {
	case agentv1.Goal_GOAL_PRESENT, agentv1.Goal_GOAL_ADOPTED:
		if s.takeOver(c, d, o, fault) == nil {
			s.fill(c, d, o, fault)
		}
	case agentv1.Goal_GOAL_CONDEMNED:
		switch {
		case taken && c.clones > 0:
			o.State = agentv1.ReplicaState_REPLICA_STATE_IN_USE
		default:
			if c.published != "" {
				c.condemned, c.published = c.published, ""
			} else if taken {
				c.foreign.condemned, c.foreign.there = true, false
			}
			o.State = agentv1.ReplicaState_REPLICA_STATE_CONDEMNED
		}
	case agentv1.Goal_GOAL_ABSENT:
		if taken && c.clones > 0 {
			o.State = agentv1.ReplicaState_REPLICA_STATE_IN_USE
			o.Failure = &agentv1.Failure{Reason: "IN_USE", Message: "has clones", Retryable: true}
		} else {
			c.published, c.condemned, c.partial, c.damaged, c.proof = "", "", "", false, nil
			c.foreign.there, c.foreign.condemned = c.foreign.there && !taken, false
			o.State = agentv1.ReplicaState_REPLICA_STATE_ABSENT
		}
	case agentv1.Goal_GOAL_HOLD:
		o = st.observed[id]
	}
	if o != nil {
		st.observed[id] = o
	}
	return fmt.Sprintf("%+v %v", *c, st.observed[id]) != before
}

// fill is one step towards a published copy.
func (s *sim) fill(c *simCopy, d *agentv1.DesiredReplica, o *agentv1.ObservedReplica, fault string) {
	complete := len(d.Content.ManifestDigest) > 0
	switch {
	case c.failed == d.Generation:
		o.State, o.Failure = agentv1.ReplicaState_REPLICA_STATE_FAILED, &agentv1.Failure{Reason: "BROKEN", Message: "broken"}
	case c.condemned != "" && c.condemned == d.Content.ContentId:
		c.published, c.condemned = c.condemned, ""
		fallthrough
	case c.published != "" && c.published == d.Content.ContentId:
		s.vouch(c, d, o)
	case c.published != "" || c.condemned != "" || c.foreign.there || c.foreign.condemned:
		o.State, o.Failure = agentv1.ReplicaState_REPLICA_STATE_FAILED, &agentv1.Failure{Reason: "NAME_TAKEN", Message: "taken"}
	case fault != "":
		c.fails(d, o, fault)
	case c.partial != d.Content.ContentId:
		c.partial = d.Content.ContentId
		o.State = agentv1.ReplicaState_REPLICA_STATE_FILLING
	case !complete:
		o.State = agentv1.ReplicaState_REPLICA_STATE_FILLING
	default:
		c.published, c.partial = c.partial, ""
		o.State = agentv1.ReplicaState_REPLICA_STATE_PRESENT
		c.proof, c.damaged = &agentv1.Verification{Time: timestamppb.New(s.now)}, false
		o.Verification = c.proof
	}
}

// vouch answers for a published copy.
func (s *sim) vouch(c *simCopy, d *agentv1.DesiredReplica, o *agentv1.ObservedReplica) {
	o.State = agentv1.ReplicaState_REPLICA_STATE_PRESENT
	if d.VerifyGeneration != 0 && d.VerifyGeneration != c.proof.GetGeneration() {
		c.proof = &agentv1.Verification{Generation: d.VerifyGeneration, Time: timestamppb.New(s.now)}
		switch {
		case s.broken:
			c.proof.Failure = &agentv1.Failure{Reason: "STORE_UNREACHABLE", Message: "cannot be read"}
		case c.damaged:
			c.proof.ChunksDamaged = 1
		}
	}
	o.Verification = c.proof
}

// fails answers that an attempt came to nothing.
func (c *simCopy) fails(d *agentv1.DesiredReplica, o *agentv1.ObservedReplica, fault string) {
	c.failed = d.Generation
	o.State = agentv1.ReplicaState_REPLICA_STATE_FAILED
	o.Failure = &agentv1.Failure{Reason: fault, Message: fault, Retryable: fault == "STORE_UNREACHABLE"}
	if o.Failure.Retryable {
		c.failed = 0
	}
}

// connect and disconnect change whether a site is there.
func (s *sim) connect(store image.StoreID, online bool) {
	st := s.stores[store]
	if st.online != online {
		st.online, st.since = online, s.now
		st.observed = map[image.ID]*agentv1.ObservedReplica{}
	}
}

// createImage adds a queued image.
func (s *sim) createImage(tb interface{ Fatal(...any) }) image.ID {
	img, err := s.catalog.CreateImage(context.Background(), catalog.NewImage{Name: "x", DiskFormat: "raw", ContainerFormat: "bare"})
	if err != nil {
		tb.Fatal(err)
	}
	s.images = append(s.images, image.ID(img.Id))
	return image.ID(img.Id)
}

// upload starts an import and returns its operation.
func (s *sim) upload(id image.ID, t catalog.Target) (*storev1.Operation, error) {
	return s.catalog.BeginImport(context.Background(), catalog.Import{Image: id, Target: t, Content: image.NewID()})
}

// arrive completes the source of an import.
func (s *sim) arrive(op *storev1.Operation) error {
	return s.catalog.CompleteSource(context.Background(), image.ID(op.Id), catalog.Arrived{Content: &storev1.Content{
		Id: op.Source.ContentId, Complete: true, SizeBytes: 100, ManifestDigest: []byte{1},
	}})
}

// TestConverges drives random users, sites and faults, then lets everything come to rest and looks at what is left.
func TestConverges(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := newSim(t)
		s.createImage(t)
		s.createImage(t)
		stores := s.storeIDs()
		steps := rapid.IntRange(1, 120).Draw(t, "steps")
		for i := range steps {
			s.step(t, i, rapid.SampledFrom(s.images).Draw(t, "image"), rapid.SampledFrom(stores).Draw(t, "store"))
			s.checkSafety(t)
		}
		s.rest(t)
	})
}

// step does one random thing. Errors of requests are part of the game.
func (s *sim) step(t *rapid.T, i int, id image.ID, store image.StoreID) {
	ctx := context.Background()
	all := rapid.Bool().Draw(t, "all must succeed")
	some := catalog.Target{Stores: []string{string(store)}, AllMustSucceed: all}
	switch rapid.IntRange(0, 30).Draw(t, "action") {
	case 0:
		_, _ = s.upload(id, some)
	case 1:
		_, _ = s.upload(id, catalog.Target{All: true, AllMustSucceed: all})
	case 2, 3:
		s.eachImport(id, func(o *storev1.Operation) { _ = s.arrive(o) })
	case 4:
		s.eachImport(id, func(o *storev1.Operation) {
			_ = s.catalog.FailSource(ctx, image.ID(o.Id), &storev1.OperationError{Reason: "SOURCE"})
		})
	case 5:
		_, _ = s.catalog.Replicate(ctx, id, some, "")
	case 6:
		_, _ = s.catalog.DeleteReplica(ctx, id, store)
	case 7:
		if rapid.IntRange(0, 3).Draw(t, "rarely") == 0 {
			_, _ = s.catalog.DeleteImage(ctx, id)
		}
	case 8:
		for _, o := range s.records.Operations() {
			if o.ImageId == string(id) {
				_ = s.catalog.Cancel(ctx, image.ID(o.Id))
			}
		}
	case 9:
		s.connect(store, rapid.Bool().Draw(t, "online"))
	case 10:
		if c := s.stores[store].copies[id]; c != nil && (c.published != "" || c.foreign.there) {
			c.clones = rapid.IntRange(0, 1).Draw(t, "clones")
		}
	case 11:
		s.agent(store, id, rapid.SampledFrom([]string{"NO_SPACE", "STORE_UNREACHABLE"}).Draw(t, "fault"))
	case 18:
		_, _ = s.catalog.BeginStage(ctx, catalog.Import{Image: id, Content: image.NewID()})
	case 19:
		_, _ = s.catalog.BeginImport(ctx, catalog.Import{Image: id, Target: some, FromStaged: true})
	case 12:
		s.now = s.now.Add(time.Duration(rapid.IntRange(1, 3_000).Draw(t, "seconds")) * time.Second)
	case 13:
		_, _ = s.catalog.VerifyReplica(ctx, id, store)
	case 14:
		_, _ = s.catalog.RetryReplica(ctx, id, store)
	case 15: // the hub restarts
		for _, st := range s.stores {
			st.observed = map[image.ID]*agentv1.ObservedReplica{}
		}
	case 24:
		if c := s.stores[store].copies[id]; c != nil && c.published != "" {
			c.damaged = true
		}
	case 25:
		s.broken = rapid.Bool().Draw(t, "broken")
	case 26:
		s.now = s.now.Add(time.Duration(rapid.IntRange(0, 9).Draw(t, "days")) * 24 * time.Hour)
		s.scrubs.look(ctx)
	case 20, 21:
		s.nova(t, id, store)
	case 22:
		s.vanish(id, store)
	case 23:
		if rapid.IntRange(0, 3).Draw(t, "rarely") == 0 {
			s.destroy(t, store)
		}
	default:
		s.agent(store, id, "")
	}
	if i%2 == 0 {
		s.plan(id)
	}
}

func (s *sim) eachImport(id image.ID, f func(*storev1.Operation)) {
	for _, o := range s.records.Operations() {
		if o.ImageId == string(id) && catalog.Importing(o) {
			f(o)
		}
	}
}

// checkSafety looks for what must never be: a published location without a complete copy behind it.
func (s *sim) checkSafety(t *rapid.T) {
	for _, id := range s.images {
		replicas, _ := s.records.Replicas(id)
		for _, r := range replicas {
			c := s.stores[image.StoreID(r.StoreId)].copies[id]
			if r.Adopted && r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE {
				c.foreign.adopted = true
			}
			if r.Location != "" && r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE &&
				c.published != r.ContentId && c.condemned != r.ContentId && !c.holdsForeign(r) {
				t.Fatalf("%v is published at %s, which holds %+v", r, r.StoreId, *c)
			}
			if c != nil && c.clones > 0 && c.published == "" && !c.foreign.there {
				t.Fatalf("a copy with clones is gone from %s", r.StoreId)
			}
		}
	}
}

// rest lets all faults end and time pass, and checks that everything ends well.
func (s *sim) rest(t *rapid.T) {
	for _, store := range s.storeIDs() {
		s.connect(store, true)
		for _, c := range s.stores[store].copies {
			c.clones = 0
		}
	}
	s.broken = false
	for range 4 {
		for _, id := range s.images {
			s.eachImport(id, func(o *storev1.Operation) { _ = s.arrive(o) })
		}
		s.settle()
		s.now = s.now.Add(25 * time.Hour)
	}
	for range 20 { // more than a period, in which every copy gets its turn
		s.now = s.now.Add(12 * time.Hour)
		s.scrubs.look(t.Context())
		s.settle()
	}
	before := s.records.Commits()
	for _, id := range s.images {
		s.plan(id)
	}
	if s.records.Commits() != before {
		t.Fatal("a settled image is written again")
	}
	for _, o := range s.records.Operations() {
		if o.State == storev1.OperationState_OPERATION_STATE_RUNNING {
			img, _ := s.records.Image(image.ID(o.ImageId))
			t.Fatalf("operation never ends: %v\n%v\n%v", o, img, must(s.records.Replicas(image.ID(o.ImageId))))
		}
	}
	for _, id := range s.images {
		s.checkRest(t, id)
	}
}

// checkRest checks one image after everything has come to rest.
func (s *sim) checkRest(t *rapid.T, id image.ID) {
	img, _ := s.records.Image(id)
	active := 0
	for _, store := range s.storeIDs() {
		r, _ := s.records.Replica(id, store)
		c := s.stores[store].copies[id]
		switch r.GetPhase() {
		case storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE:
			active++
			if age := s.now.Sub(proven(r)); age > s.loop.Settings.ScrubPeriod || c.damaged {
				t.Fatalf("store %s: proven %s ago, damaged %v: %v", store, age, c.damaged, r)
			}
			if c.published != r.ContentId || r.Location == "" {
				t.Fatalf("store %s: active, but the site holds %+v", store, *c)
			}
		case storev1.ReplicaPhase_REPLICA_PHASE_UNSPECIFIED:
			if c != nil && (c.published != "" || c.condemned != "" || c.partial != "") {
				t.Fatalf("store %s: orphan %+v", store, *c)
			}
		case storev1.ReplicaPhase_REPLICA_PHASE_FAILED:
			if r.Reason == "" {
				t.Fatalf("store %s: failed without a reason", store)
			}
		default:
			t.Fatalf("store %s: stuck in %s", store, r.Phase)
		}
	}
	switch img.GetStatus() {
	case storev1.ImageStatus_IMAGE_STATUS_UNSPECIFIED, storev1.ImageStatus_IMAGE_STATUS_QUEUED:
		if active > 0 || img.GetContent() != nil {
			t.Fatalf("%s with %d copies: %v", img.GetStatus(), active, img)
		}
	case storev1.ImageStatus_IMAGE_STATUS_ACTIVE:
		if active == 0 && len(must(s.records.Replicas(id))) == 0 {
			t.Fatal("active without any copy")
		}
	default:
		t.Fatalf("stuck in %s", img.GetStatus())
	}
}

func must[T any](v T, _ []int64) T { return v }
