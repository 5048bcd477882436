package replica

import (
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// idle returns a Manager that does not run: only what it wants changes.
func idle(t *testing.T) *Manager {
	t.Helper()
	return New(Config{Stores: map[image.StoreID]Store{}, Log: hclog.NewNullLogger(), Now: time.Now})
}

func (m *Manager) goal(id image.ID) (agentv1.Goal, uint64) {
	r := m.replicas[key{Store: st0, Image: id}]
	if r == nil {
		return -1, 0
	}
	return r.want.goal, r.want.generation
}

func TestOldMessagesAreIgnored(t *testing.T) {
	m := idle(t)
	m.Apply(&agentv1.Desired{Revision: 5, Snapshot: true, Replicas: []*agentv1.DesiredReplica{goalOf(goalPresent, 3, conA)}})
	m.Apply(&agentv1.Desired{Revision: 5, Replicas: []*agentv1.DesiredReplica{goalOf(goalAbsent, 4, conA)}})
	if g, _ := m.goal(img1); g != goalPresent {
		t.Errorf("a message that was received twice counts: %v", g)
	}
	m.Apply(&agentv1.Desired{Revision: 6, Replicas: []*agentv1.DesiredReplica{goalOf(goalAbsent, 2, conA)}})
	if g, n := m.goal(img1); g != goalPresent || n != 3 {
		t.Errorf("an older generation counts: %v %d", g, n)
	}
	m.Apply(&agentv1.Desired{Revision: 1, Snapshot: true, Replicas: []*agentv1.DesiredReplica{goalOf(goalHold, 1, conA)}})
	if g, n := m.goal(img1); g != goalHold || n != 1 {
		t.Errorf("a snapshot does not count: %v %d", g, n)
	}
}

func TestSnapshotInParts(t *testing.T) {
	m := idle(t)
	second := goalOf(goalPresent, 1, conA)
	second.ImageId = string(img2)
	m.Apply(&agentv1.Desired{Revision: 1, Snapshot: true, Replicas: []*agentv1.DesiredReplica{goalOf(goalPresent, 1, conA), second}})
	m.Apply(&agentv1.Desired{Revision: 1, Snapshot: true, More: true})
	m.Apply(&agentv1.Desired{Revision: 2, More: true, Replicas: []*agentv1.DesiredReplica{second}})
	if g, _ := m.goal(img1); g != goalPresent {
		t.Errorf("the first part of a snapshot makes a replica unwanted: %v", g)
	}
	m.Offline()
	m.Apply(&agentv1.Desired{Revision: 1, Snapshot: true, More: true})
	m.Apply(&agentv1.Desired{Revision: 2, More: true})
	m.Apply(&agentv1.Desired{Revision: 3, Replicas: []*agentv1.DesiredReplica{second}})
	if g, _ := m.goal(img1); g != goalForgotten {
		t.Errorf("a replica that no part names is still wanted: %v", g)
	}
	if g, _ := m.goal(img2); g != goalPresent {
		t.Errorf("a replica that the last part names is %v", g)
	}
}

func TestBadGoalsAreIgnored(t *testing.T) {
	m := idle(t)
	for name, change := range map[string]func(*agentv1.DesiredReplica){
		"image":   func(d *agentv1.DesiredReplica) { d.ImageId = "x" },
		"goal":    func(d *agentv1.DesiredReplica) { d.Goal = 99 },
		"no goal": func(d *agentv1.DesiredReplica) { d.Goal = 0 },
		"content": func(d *agentv1.DesiredReplica) { d.Content = nil },
		"size":    func(d *agentv1.DesiredReplica) { d.Content.SizeBytes = -1 },
		"huge":    func(d *agentv1.DesiredReplica) { d.Content.SizeBytes = 1 << 60 },
		"digest":  func(d *agentv1.DesiredReplica) { d.Content.ManifestDigest = []byte{1} },
	} {
		d := goalOf(goalPresent, 1, conA)
		change(d)
		m.Apply(&agentv1.Desired{Replicas: []*agentv1.DesiredReplica{d}, Offers: []*agentv1.Offer{{ImageId: "x"}, {ImageId: string(img1)}}})
		if len(m.replicas) > 0 || len(m.offers) > 0 {
			t.Errorf("%s: accepted", name)
		}
	}
}

// A changed size or digest of the same goal does not disturb what is under way.
func TestOnlyNewGoalsInterrupt(t *testing.T) {
	m := idle(t)
	m.Apply(&agentv1.Desired{Replicas: []*agentv1.DesiredReplica{goalOf(goalPresent, 1, conA)}})
	r := m.replicas[key{Store: st0, Image: img1}]
	seq := r.seq
	d := goalOf(goalPresent, 1, conA)
	d.Content.SizeBytes, d.VerifyGeneration = 5, 3
	m.Apply(&agentv1.Desired{Replicas: []*agentv1.DesiredReplica{d}})
	if r.seq != seq || r.want.size != 5 || r.want.verify != 3 {
		t.Errorf("interrupted %v, wanted %v", r.seq != seq, r.want)
	}
	for i, d := range []*agentv1.DesiredReplica{goalOf(goalPresent, 2, conA), goalOf(goalPresent, 2, conB), goalOf(goalHold, 2, conB)} {
		seq = r.seq
		m.Apply(&agentv1.Desired{Replicas: []*agentv1.DesiredReplica{d}})
		if r.seq == seq {
			t.Errorf("change %d does not interrupt", i)
		}
	}
}

// New metadata is for readers: it neither stops what is under way nor wakes what waits for the hub.
func TestMetadataDisturbsNothing(t *testing.T) {
	m := idle(t)
	m.Apply(&agentv1.Desired{Revision: 1, Snapshot: true, Replicas: []*agentv1.DesiredReplica{goalOf(goalPresent, 1, conA)}})
	r := m.replicas[key{Store: st0, Image: img1}]
	<-r.wake
	clear(m.ready)
	seq, want := r.seq, r.want
	d := goalOf(goalPresent, 1, conA)
	d.Metadata = &agentv1.ImageMetadata{Revision: 7, Name: "renamed", Location: "rbd://f/images/x/snap"}
	m.Apply(&agentv1.Desired{Revision: 2, Replicas: []*agentv1.DesiredReplica{d}})
	if r.seq != seq || r.want != want || len(m.ready) != 0 {
		t.Errorf("disturbed: seq %d, %d ready, wanted %v", r.seq, len(m.ready), r.want)
	}
	select {
	case <-r.wake:
		t.Error("woken")
	default:
	}
	m.Apply(&agentv1.Desired{Revision: 1, Snapshot: true, Replicas: []*agentv1.DesiredReplica{d}})
	select {
	case <-r.wake: // a new session repeats goals: whoever waits for the hub looks again
	default:
		t.Error("not woken by a snapshot")
	}
}
