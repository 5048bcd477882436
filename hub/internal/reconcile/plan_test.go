package reconcile

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

const (
	phasePending      = storev1.ReplicaPhase_REPLICA_PHASE_PENDING
	phaseTransferring = storev1.ReplicaPhase_REPLICA_PHASE_TRANSFERRING
	phaseActive       = storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE
	phaseFailed       = storev1.ReplicaPhase_REPLICA_PHASE_FAILED
	phaseDeleting     = storev1.ReplicaPhase_REPLICA_PHASE_DELETING

	sitePresent   = agentv1.ReplicaState_REPLICA_STATE_PRESENT
	siteFilling   = agentv1.ReplicaState_REPLICA_STATE_FILLING
	siteFailed    = agentv1.ReplicaState_REPLICA_STATE_FAILED
	siteCondemned = agentv1.ReplicaState_REPLICA_STATE_CONDEMNED
	siteInUse     = agentv1.ReplicaState_REPLICA_STATE_IN_USE
	siteAbsent    = agentv1.ReplicaState_REPLICA_STATE_ABSENT
)

const contentID = "c0ffee00-0000-4000-8000-000000000001"

// board is one image and its world, moved by hand.
type board struct {
	t    *testing.T
	a    Aggregate
	w    World
	ops  map[string]*storev1.Operation // by id, those that are done too
	wake time.Time
}

// newBoard returns an active image, with complete copies in the given stores. Sites central, dcn0 and dcn1 are online.
func newBoard(t *testing.T, copies ...image.StoreID) *board {
	t.Helper()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	b := &board{t: t, ops: map[string]*storev1.Operation{}, w: World{
		Now: now, Central: central, Settings: DefaultSettings(),
		Stores: map[image.StoreID]StoreView{}, Observed: map[image.StoreID]*agentv1.ObservedReplica{},
	}}
	for _, s := range []image.StoreID{central, "dcn0", "dcn1"} {
		b.w.Stores[s] = StoreView{Site: image.SiteID(s), Driver: "ceph", FSID: "fsid-" + string(s), Pool: "images", Online: true, Since: now, Healthy: true}
	}
	b.a.Image = &storev1.Image{
		Id: string(image.NewID()), Status: storev1.ImageStatus_IMAGE_STATUS_ACTIVE,
		Content: &storev1.Content{Id: contentID, Complete: true, SizeBytes: 100, ManifestDigest: []byte{1}},
	}
	for _, s := range copies {
		b.a.Replicas = append(b.a.Replicas, &storev1.Replica{
			ImageId: b.a.Image.Id, StoreId: string(s), SiteId: string(s), Phase: phaseActive, Generation: 1, ContentId: contentID,
			PhaseTime: catalog.Stamp(now), CreateTime: catalog.Stamp(now), Location: "rbd://" + string(s),
		})
	}
	return b
}

// start adds an operation over the stores.
func (b *board) start(kind storev1.OperationKind, stores ...string) *storev1.Operation {
	o := &storev1.Operation{Id: string(image.NewID()), Kind: kind, ImageId: b.a.Image.Id, State: running, CreateTime: catalog.Stamp(b.w.Now)}
	for _, s := range stores {
		o.Stores = append(o.Stores, &storev1.OperationStore{StoreId: s, State: running})
	}
	b.a.Operations = append(b.a.Operations, o)
	return o
}

func (b *board) startImport(together bool, stores ...string) *storev1.Operation {
	b.a.Image.Status, b.a.Image.PublishTogether = storev1.ImageStatus_IMAGE_STATUS_IMPORTING, together
	o := b.start(storev1.OperationKind_OPERATION_KIND_IMPORT, stores...)
	o.AllMustSucceed, o.Source = together, &storev1.Source{ContentId: contentID, Complete: true}
	return o
}

func (b *board) startDelete() *storev1.Operation {
	b.a.Image.StatusBeforeDelete, b.a.Image.Status = b.a.Image.Status, storev1.ImageStatus_IMAGE_STATUS_DELETING
	var stores []string
	for _, r := range b.a.Replicas {
		stores = append(stores, r.StoreId)
	}
	return b.start(storev1.OperationKind_OPERATION_KIND_DELETE_IMAGE, stores...)
}

// plan plans until nothing changes and takes over the result, as the loop does.
func (b *board) plan() {
	b.t.Helper()
	for range 20 {
		before := cloneAggregate(b.a)
		after, wake := Plan(b.a, b.w)
		if !sameAggregate(before, b.a) {
			b.t.Fatal("Plan changes its arguments")
		}
		for _, o := range after.Operations {
			b.ops[o.Id] = o
		}
		if after.Image == nil {
			b.a = Aggregate{}
			return
		}
		b.a, b.wake = after, wake
		b.a.Operations = slices.DeleteFunc(slices.Clone(after.Operations), func(o *storev1.Operation) bool { return o.State != running })
		if sameAggregate(before, after) {
			return
		}
	}
	b.t.Fatal("the plan never settles")
}

// say lets a site answer the present goal of its copy, and plans.
func (b *board) say(s image.StoreID, state agentv1.ReplicaState) {
	b.t.Helper()
	b.answer(s, &agentv1.ObservedReplica{State: state})
}

// fail lets a site fail, and plans.
func (b *board) fail(s image.StoreID, reason string, retryable bool) {
	b.t.Helper()
	b.answer(s, &agentv1.ObservedReplica{State: siteFailed, Failure: &agentv1.Failure{Reason: reason, Message: "it is so", Retryable: retryable}})
}

func (b *board) answer(s image.StoreID, o *agentv1.ObservedReplica) {
	b.t.Helper()
	o.Generation = b.replica(s).GetGeneration()
	b.w.Observed[s] = o
	b.plan()
}

// connect changes whether a site is there, and plans.
func (b *board) connect(s image.StoreID, online bool) {
	b.t.Helper()
	v := b.w.Stores[s]
	v.Online, v.Since = online, b.w.Now
	b.w.Stores[s] = v
	delete(b.w.Observed, s)
	b.plan()
}

// pass lets time pass, and plans.
func (b *board) pass(d time.Duration) {
	b.t.Helper()
	b.w.Now = b.w.Now.Add(d)
	b.plan()
}

func (b *board) replica(s image.StoreID) *storev1.Replica {
	for _, r := range b.a.Replicas {
		if r.StoreId == string(s) {
			return r
		}
	}
	return nil
}

func (b *board) wantPhase(s image.StoreID, phase storev1.ReplicaPhase, reason string) {
	b.t.Helper()
	r := b.replica(s)
	if r.GetPhase() != phase || r.GetReason() != reason || (r.GetLocation() != "") != (phase == phaseActive) {
		b.t.Fatalf("store %s: got %v, want %s %q", s, r, phase, reason)
	}
}

func (b *board) wantImage(status storev1.ImageStatus, failedStores ...string) {
	b.t.Helper()
	if b.a.Image.GetStatus() != status || !slices.Equal(b.a.Image.GetFailedStores(), failedStores) {
		b.t.Fatalf("got %v, want %s, failed %v", b.a.Image, status, failedStores)
	}
}

// wantOp checks how an operation stands and how its parts do, sorted by store.
func (b *board) wantOp(o *storev1.Operation, state storev1.OperationState, reason string, parts ...storev1.OperationState) {
	b.t.Helper()
	now := b.ops[o.Id]
	var got []storev1.OperationState
	for _, p := range now.GetStores() {
		got = append(got, p.State)
	}
	if now.GetState() != state || now.GetError().GetReason() != reason || !slices.Equal(got, parts) || (now.EndTime == nil) != (state == running) {
		b.t.Fatalf("got %v, want %s %q %v", now, state, reason, parts)
	}
}

func cloneAggregate(a Aggregate) Aggregate {
	out := Aggregate{Image: proto.CloneOf(a.Image)}
	for _, r := range a.Replicas {
		out.Replicas = append(out.Replicas, proto.CloneOf(r))
	}
	for _, o := range a.Operations {
		out.Operations = append(out.Operations, proto.CloneOf(o))
	}
	return out
}

func sameAggregate(a, b Aggregate) bool {
	return proto.Equal(a.Image, b.Image) &&
		slices.EqualFunc(a.Replicas, b.Replicas, func(x, y *storev1.Replica) bool { return proto.Equal(x, y) }) &&
		slices.EqualFunc(a.Operations, b.Operations, func(x, y *storev1.Operation) bool { return proto.Equal(x, y) })
}

func TestPlanNothing(t *testing.T) {
	t.Parallel()
	if a, wake := Plan(Aggregate{}, World{}); a.Image != nil || !wake.IsZero() {
		t.Fatalf("got %v, %v", a, wake)
	}
}

// What a site said about an earlier goal, or while it was connected before, counts for nothing.
func TestPlanIgnoresStaleAnswers(t *testing.T) {
	t.Parallel()
	b := newBoard(t, central)
	o := b.start(storev1.OperationKind_OPERATION_KIND_COPY, "dcn0")
	b.plan()
	old := b.replica("dcn0").Generation
	for _, generation := range []uint64{0, old - 1, old + 1} {
		b.w.Observed["dcn0"] = &agentv1.ObservedReplica{State: sitePresent, Generation: generation}
		b.plan()
		b.wantPhase("dcn0", phasePending, "")
	}
	v := b.w.Stores["dcn0"]
	v.Online = false
	b.w.Stores["dcn0"] = v
	b.say("dcn0", sitePresent)
	b.wantPhase("dcn0", phasePending, "")
	b.wantOp(o, running, "", running)
}

// A hub that has just started does not give a site up that it has not heard of yet, however long the site was away before.
func TestPlanOfflineAfterARestart(t *testing.T) {
	t.Parallel()
	b := newBoard(t, central)
	o := b.start(storev1.OperationKind_OPERATION_KIND_COPY, "dcn0")
	b.plan()
	left := b.w.Now
	b.w.Now = left.Add(30 * time.Hour)
	v := b.w.Stores["dcn0"]
	v.Online, v.Since, v.Expected = false, left, b.w.Now.Add(5*time.Minute)
	b.w.Stores["dcn0"] = v
	b.plan()
	b.wantPhase("dcn0", phasePending, "")
	if !b.wake.Equal(v.Expected) {
		t.Fatalf("looks again at %s, want %s", b.wake, v.Expected)
	}
	b.pass(5 * time.Minute)
	b.wantPhase("dcn0", phaseFailed, reasonOffline)
	b.wantOp(o, failed, reasonOffline, failed)
	if m := b.replica("dcn0").Message; !strings.Contains(m, left.Format(time.RFC3339)) {
		t.Fatalf("message: %q", m)
	}
}

func TestPlanOffline(t *testing.T) {
	t.Parallel()
	b := newBoard(t, central)
	b.connect("dcn0", false)
	b.pass(5 * time.Hour) // it has been away for a while when the copy is asked for
	asked := b.w.Now
	o := b.start(storev1.OperationKind_OPERATION_KIND_COPY, "dcn0")
	b.plan()
	b.wantPhase("dcn0", phasePending, "")
	if want := asked.Add(24 * time.Hour); !b.wake.Equal(want) {
		t.Fatalf("looks again at %s, want %s", b.wake, want)
	}
	b.pass(24*time.Hour - time.Second)
	b.wantOp(o, running, "", running)
	b.pass(time.Second)
	b.wantPhase("dcn0", phaseFailed, reasonOffline)
	b.wantOp(o, failed, reasonOffline, failed)
	b.wantImage(storev1.ImageStatus_IMAGE_STATUS_ACTIVE)
	before := b.replica("dcn0").Generation
	b.connect("dcn0", true)
	b.wantPhase("dcn0", phasePending, "")
	if b.replica("dcn0").Generation <= before {
		t.Fatal("the site is not asked again")
	}
	b.say("dcn0", sitePresent)
	b.wantPhase("dcn0", phaseActive, "")
}

func TestPlanRetries(t *testing.T) {
	t.Parallel()
	b := newBoard(t, central)
	b.w.Settings.MaxAttempts = 3
	o := b.start(storev1.OperationKind_OPERATION_KIND_COPY, "dcn0")
	b.plan()
	for _, wait := range []time.Duration{5 * time.Second, 10 * time.Second} {
		before := b.replica("dcn0").Generation
		b.fail("dcn0", "STORE_UNREACHABLE", true)
		b.wantPhase("dcn0", phasePending, "STORE_UNREACHABLE")
		if d := Desired(b.a.Image, b.replica("dcn0")); d.Goal != agentv1.Goal_GOAL_HOLD || d.Generation <= before {
			t.Fatalf("while waiting: %v", d)
		}
		if want := b.w.Now.Add(wait); !b.wake.Equal(want) {
			t.Fatalf("next attempt at %s, want %s", b.wake, want)
		}
		attempts := b.replica("dcn0").Attempts
		b.plan() // the answer that is still there counts once
		if b.replica("dcn0").Attempts != attempts {
			t.Fatal("one failure is counted twice")
		}
		b.pass(wait)
		if d := Desired(b.a.Image, b.replica("dcn0")); d.Goal != agentv1.Goal_GOAL_PRESENT {
			t.Fatalf("when due: %v", d)
		}
	}
	b.wantOp(o, running, "", running)
	b.fail("dcn0", "STORE_UNREACHABLE", true)
	b.wantPhase("dcn0", phaseFailed, "STORE_UNREACHABLE")
	b.wantOp(o, failed, "STORE_UNREACHABLE", failed)
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	for attempts, want := range map[int32]time.Duration{
		1: 5 * time.Second, 2: 10 * time.Second, 3: 20 * time.Second, 6: 160 * time.Second, 7: 5 * time.Minute, 300: 5 * time.Minute,
	} {
		if got := backoff(DefaultSettings(), attempts); got != want {
			t.Errorf("after %d attempts: %s, want %s", attempts, got, want)
		}
	}
}

// A copy that fails for good does not harm the image or the other copies, and stays to be looked at.
func TestPlanCopyFails(t *testing.T) {
	t.Parallel()
	b := newBoard(t, central)
	good := b.start(storev1.OperationKind_OPERATION_KIND_COPY, "dcn1")
	bad := b.start(storev1.OperationKind_OPERATION_KIND_COPY, "dcn0")
	b.plan()
	b.fail("dcn0", "NO_SPACE", false)
	b.say("dcn1", sitePresent)
	b.wantPhase("dcn0", phaseFailed, "NO_SPACE")
	b.wantPhase("dcn1", phaseActive, "")
	b.wantOp(good, succeeded, "", succeeded)
	b.wantOp(bad, failed, "NO_SPACE", failed)
	if m := b.ops[bad.Id].Error.Message; !strings.Contains(m, "dcn0") || !strings.Contains(m, "it is so") {
		t.Fatalf("message %q", m)
	}
	b.wantImage(storev1.ImageStatus_IMAGE_STATUS_ACTIVE)
}

// Two copies to one store are one transfer; cancelling one leaves it to the other.
func TestPlanJoinedCopies(t *testing.T) {
	t.Parallel()
	b := newBoard(t, central)
	first := b.start(storev1.OperationKind_OPERATION_KIND_COPY, "dcn0")
	b.plan()
	second := b.start(storev1.OperationKind_OPERATION_KIND_COPY, "dcn0")
	b.say("dcn0", siteFilling)
	generation := b.replica("dcn0").Generation
	b.a.Operations[0].Undoing = cancelled
	b.plan()
	b.wantOp(first, cancelled, "", cancelled)
	b.wantPhase("dcn0", phaseTransferring, "")
	b.say("dcn0", sitePresent)
	b.wantOp(second, succeeded, "", succeeded)
	if b.replica("dcn0").Generation != generation {
		t.Fatal("the transfer began again")
	}
}

func TestPlanCancelledCopyIsRemoved(t *testing.T) {
	t.Parallel()
	b := newBoard(t, central)
	o := b.start(storev1.OperationKind_OPERATION_KIND_COPY, "dcn0")
	b.plan()
	b.say("dcn0", siteFilling)
	b.a.Operations[0].Undoing = cancelled
	b.plan()
	if d := Desired(b.a.Image, b.replica("dcn0")); d.Goal != agentv1.Goal_GOAL_ABSENT {
		t.Fatalf("got %v", d)
	}
	b.wantOp(o, running, "", cancelled)
	b.say("dcn0", siteAbsent)
	b.wantOp(o, cancelled, "", cancelled)
	if b.replica("dcn0") != nil {
		t.Fatal("the record is left")
	}
	b.wantPhase(central, phaseActive, "")
}
