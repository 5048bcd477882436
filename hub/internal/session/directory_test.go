package session

import (
	"slices"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

const (
	filling = agentv1.ReplicaState_REPLICA_STATE_FILLING
	present = agentv1.ReplicaState_REPLICA_STATE_PRESENT
)

// desk is a directory with a clock turned by hand and the list of images that changed.
type desk struct {
	*Directory
	now     time.Time
	changed []image.ID
	gone    map[key]bool // replicas without a record
}

func newDesk() *desk {
	d := &desk{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	d.Directory = NewDirectory(func() time.Time { return d.now }, func(ids ...image.ID) { d.changed = append(d.changed, ids...) })
	return d
}

func (d *desk) connect(epoch uint64) {
	d.open("dcn0", epoch, "192.0.2.1", "v1", []*agentv1.StoreStatus{{StoreId: "dcn0", Healthy: true}}, map[image.StoreID]bool{"dcn0": true})
}

// report takes over a message and returns how many replicas were left out.
func (d *desk) report(epoch uint64, o *agentv1.Observed) int {
	return d.Directory.report("dcn0", epoch, o, func(k key) bool { return !d.gone[k] })
}

// state returns what the site says about an image.
func (d *desk) state(img image.ID) agentv1.ReplicaState {
	return d.Observed("dcn0", img, "dcn0").GetState()
}

func replica(img string, state agentv1.ReplicaState, done int64) *agentv1.ObservedReplica {
	return &agentv1.ObservedReplica{ImageId: img, StoreId: "dcn0", State: state, Generation: 1, Progress: &agentv1.Progress{BytesDone: done, BytesTotal: 1000}}
}

func TestDirectoryConnection(t *testing.T) {
	t.Parallel()
	d := newDesk()
	start := d.now
	if s := d.Store("dcn0", "dcn0"); s.Online || !s.Since.Equal(start) {
		t.Fatalf("before anybody came: %+v", s)
	}
	d.now = d.now.Add(time.Minute)
	d.connect(4)
	if s := d.Store("dcn0", "dcn0"); !s.Online || !s.Since.Equal(d.now) || !s.Status.Healthy {
		t.Fatalf("connected: %+v", s)
	}
	if d.Store("dcn0", "other").Online {
		t.Fatal("a store that was not accepted is online")
	}
	d.report(4, &agentv1.Observed{Stores: []*agentv1.StoreStatus{{StoreId: "dcn0", Message: "pool is gone"}}})
	if s := d.Store("dcn0", "dcn0"); s.Status.Healthy {
		t.Fatalf("after the report: %+v", s)
	}
	d.now = d.now.Add(time.Minute)
	d.close("dcn0", 3)
	if !d.Site("dcn0").Connected {
		t.Fatal("the end of an older session ended this one")
	}
	d.close("dcn0", 4)
	if s := d.Site("dcn0"); s.Connected || !s.Since.Equal(d.now) || s.Address != "192.0.2.1" {
		t.Fatalf("closed: %+v", s)
	}
}

func TestDirectorySnapshotInParts(t *testing.T) {
	t.Parallel()
	d := newDesk()
	d.connect(1)
	d.report(1, &agentv1.Observed{Snapshot: true, Replicas: []*agentv1.ObservedReplica{replica("a", present, 0), replica("b", present, 0)}})
	d.changed = nil
	d.report(1, &agentv1.Observed{Snapshot: true, More: true, Replicas: []*agentv1.ObservedReplica{replica("b", filling, 0)}})
	if d.state("a") != present || d.state("b") != present {
		t.Fatal("half a snapshot counts")
	}
	d.report(1, &agentv1.Observed{Replicas: []*agentv1.ObservedReplica{replica("c", present, 0)}})
	if d.state("a") != 0 || d.state("b") != filling || d.state("c") != present {
		t.Fatalf("a is %s, b is %s, c is %s", d.state("a"), d.state("b"), d.state("c"))
	}
	for _, id := range []image.ID{"a", "b", "c"} {
		if !slices.Contains(d.changed, id) {
			t.Errorf("nobody was told that %s has changed", id)
		}
	}
	d.report(1, &agentv1.Observed{Replicas: []*agentv1.ObservedReplica{replica("b", present, 0)}})
	if d.state("b") != present || d.state("c") != present {
		t.Fatal("a delta is not applied on top of the snapshot")
	}
}

func TestDirectoryEpochs(t *testing.T) {
	t.Parallel()
	d := newDesk()
	d.connect(1)
	d.report(1, &agentv1.Observed{Snapshot: true, Replicas: []*agentv1.ObservedReplica{replica("a", present, 0)}})
	d.connect(2)
	if d.state("a") != 0 {
		t.Fatal("what the earlier session said still counts")
	}
	d.report(1, &agentv1.Observed{Snapshot: true, Replicas: []*agentv1.ObservedReplica{replica("a", present, 0)}})
	if d.state("a") != 0 {
		t.Fatal("a report of an earlier session is taken")
	}
	d.report(2, &agentv1.Observed{Replicas: []*agentv1.ObservedReplica{{ImageId: "a", StoreId: "other", State: present}, replica("b", present, 0)}})
	if d.Observed("dcn0", "a", "other") != nil || d.state("b") != present {
		t.Fatal("a report about a store of somebody else is taken")
	}
	d.connect(1)
	if d.state("b") != present {
		t.Fatal("a late older session replaces the newer one")
	}
	d.forget("dcn0", key{"b", "dcn0"})
	if d.state("b") != 0 {
		t.Fatal("not forgotten")
	}
	d.close("dcn0", 2)
	d.report(2, &agentv1.Observed{Replicas: []*agentv1.ObservedReplica{replica("a", present, 0)}})
	if d.state("a") != 0 {
		t.Fatal("a closed session reports")
	}
}

// What the catalog does not name takes no memory.
func TestDirectoryLeavesStrangersOut(t *testing.T) {
	t.Parallel()
	d := newDesk()
	d.connect(1)
	d.gone = map[key]bool{{"x", "dcn0"}: true}
	both := []*agentv1.ObservedReplica{replica("a", present, 0), replica("x", filling, 0), {ImageId: "a", StoreId: "other", State: present}}
	for _, o := range []*agentv1.Observed{
		{Replicas: both},
		{Snapshot: true, More: true, Replicas: both},
		{Replicas: both},
	} {
		if n := d.report(1, o); n != 2 {
			t.Fatalf("%d were left out, want 2", n)
		}
	}
	if slices.Contains(d.changed, "x") {
		t.Fatal("the planner is sent to an image that does not exist")
	}
	if s := d.sites["dcn0"]; len(s.observed) != 1 || len(s.rates) != 0 || d.state("a") != present {
		t.Fatalf("kept: %v, %v", s.observed, s.rates)
	}
	d.report(1, &agentv1.Observed{Snapshot: true, More: true, Stores: []*agentv1.StoreStatus{{StoreId: "other"}}, Replicas: both})
	d.forget("dcn0", key{"a", "dcn0"}) // removed while a snapshot arrives
	d.report(1, &agentv1.Observed{})
	if s := d.sites["dcn0"]; len(s.observed) != 0 || len(s.stores) != 1 {
		t.Fatalf("kept: %v, %v", s.observed, s.stores)
	}
}

func TestTransferRate(t *testing.T) {
	t.Parallel()
	d := newDesk()
	d.connect(1)
	step := func(state agentv1.ReplicaState, done int64) Transfer {
		d.now = d.now.Add(time.Second)
		d.report(1, &agentv1.Observed{Replicas: []*agentv1.ObservedReplica{replica("a", state, done)}})
		tr, ok := d.Transfer("dcn0", "a", "dcn0")
		if !ok {
			t.Fatal("no figures")
		}
		return tr
	}
	if _, ok := d.Transfer("dcn0", "a", "dcn0"); ok {
		t.Fatal("figures before any report")
	}
	if tr := step(filling, 100); tr.Rate != 0 || tr.Done != 100 || tr.Total != 1000 || !tr.Filling {
		t.Fatalf("first: %+v", tr)
	}
	if tr := step(filling, 300); tr.Rate != 200 {
		t.Fatalf("second: %+v", tr)
	}
	if tr := step(filling, 300); tr.Rate <= 0 || tr.Rate >= 200 {
		t.Fatalf("a pause does not slow it down: %+v", tr)
	}
	if tr := step(filling, 50); tr.Rate != 0 {
		t.Fatalf("a new attempt: %+v", tr)
	}
	if tr := step(present, 1000); tr.Filling || tr.Rate != 0 {
		t.Fatalf("done: %+v", tr)
	}
}
