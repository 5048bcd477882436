package edge

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

func quietCatalogue() (*Catalogue, *fakeCopies) {
	copies := newFakeCopies()
	return NewCatalogue("dcn0", copies, hclog.NewNullLogger()), copies
}

func snapshot(goals ...*agentv1.DesiredReplica) *agentv1.Desired {
	return &agentv1.Desired{Revision: 1, Snapshot: true, Replicas: goals}
}

func (c *Catalogue) names() string {
	var out []string
	for img := range c.Images().After(nil) {
		out = append(out, string(img.ID[:1])+":"+img.Name)
	}
	return strings.Join(out, " ")
}

func TestCatalogueFollowsTheHub(t *testing.T) {
	t.Parallel()
	c, _ := quietCatalogue()
	c.Apply(snapshot(goal(img1, nil), goal(img2, nil)))
	if got := c.names(); got != "2:cirros 1:cirros" {
		t.Fatalf("images %q, want the newest first", got)
	}
	first := c.Image(img1)
	if first.Owner != "p1" || first.ContentID != conA || !slices.Equal(first.Stores, []string{st0}) ||
		first.Locations[0].URL != "rbd://fsid/images/"+string(img1)+"/snap" || first.Locations[0].Site != "dcn0" || first.Copying {
		t.Errorf("shown: %+v", first)
	}
	c.Apply(&agentv1.Desired{Revision: 2, Replicas: []*agentv1.DesiredReplica{goal(img1, func(d *agentv1.DesiredReplica) {
		d.Metadata.Revision, d.Metadata.Name = 2, "renamed"
	})}})
	if got := c.names(); got != "2:cirros 1:renamed" || first.Name != "cirros" {
		t.Errorf("after a change of metadata: %q; what readers have: %q", got, first.Name)
	}
	c.Apply(&agentv1.Desired{Revision: 2, Removed: []*agentv1.ReplicaKey{{ImageId: string(img2), StoreId: st0}}})
	if c.Image(img2) == nil {
		t.Error("a message that came twice counts")
	}
	c.Apply(&agentv1.Desired{Revision: 3, Removed: []*agentv1.ReplicaKey{{ImageId: string(img2), StoreId: st0}}})
	if got := c.names(); got != "1:renamed" || c.Image(img2) != nil {
		t.Errorf("after a removal: %q", got)
	}
}

func TestImagesThatVanish(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*agentv1.DesiredReplica){
		"absent":         func(d *agentv1.DesiredReplica) { d.Goal = agentv1.Goal_GOAL_ABSENT },
		"condemned":      func(d *agentv1.DesiredReplica) { d.Goal = agentv1.Goal_GOAL_CONDEMNED },
		"no metadata":    func(d *agentv1.DesiredReplica) { d.Metadata = nil },
		"not active":     func(d *agentv1.DesiredReplica) { d.Metadata.Status = "importing" },
		"unknown status": func(d *agentv1.DesiredReplica) { d.Metadata.Status = "new" },
	} {
		c, _ := quietCatalogue()
		c.Apply(snapshot(goal(img1, nil)))
		c.Apply(&agentv1.Desired{Revision: 2, Replicas: []*agentv1.DesiredReplica{goal(img1, change)}})
		if c.Image(img1) != nil || c.Images().Len() != 0 || c.number != 0 || c.bytes != 0 || len(c.open) != 0 {
			t.Errorf("%s: still shown, or counted: %d copies, %d bytes", name, c.number, c.bytes)
		}
	}
}

func TestCatalogueSnapshotInParts(t *testing.T) {
	t.Parallel()
	c, _ := quietCatalogue()
	c.Apply(snapshot(goal(img1, nil), goal(img2, nil)))
	c.Apply(&agentv1.Desired{Revision: 1, Snapshot: true, More: true, Replicas: []*agentv1.DesiredReplica{goal(img3, nil)}})
	if got := c.names(); got != "3:cirros 2:cirros 1:cirros" {
		t.Errorf("in the middle of a snapshot: %q", got)
	}
	c.Offline() // it breaks off
	c.Apply(&agentv1.Desired{Revision: 1, Snapshot: true, More: true, Replicas: []*agentv1.DesiredReplica{goal(img2, nil)}})
	c.Apply(&agentv1.Desired{Revision: 2})
	if got := c.names(); got != "2:cirros" {
		t.Errorf("after the snapshot: %q", got)
	}
}

// What the hub has not recorded yet is shown as the site sees it.
func TestOwnKnowledgeOfCopies(t *testing.T) {
	t.Parallel()
	c, copies := quietCatalogue()
	c.Apply(snapshot(goal(img1, filling)))
	show := func() string {
		list := slices.Collect(c.Images().After(nil))
		img := c.Image(img1)
		if list[0] != img {
			t.Error("the list shows something else")
		}
		return fmt.Sprint(img.Stores, len(img.Locations), img.ImportingTo, img.Failed, img.Copying, c.Published(img1))
	}
	for _, step := range []struct {
		state agentv1.ReplicaState
		want  string
	}{
		{0, "[] 0 [dcn0] [] true false"},
		{isFilling, "[] 0 [dcn0] [] true false"},
		{isFailed, "[] 0 [] [dcn0] true false"},
		{isFilling, "[] 0 [dcn0] [] true false"},
		{isPresent, "[dcn0] 1 [] [] false true"},
	} {
		copies.set(img1, step.state)
		if got := show(); got != step.want {
			t.Errorf("state %v: %s, want %s", step.state, got, step.want)
		}
	}
	if url := c.Image(img1).Locations[0].URL; url != "rbd://fsid/images/"+string(img1)+"/snap" {
		t.Errorf("location %q is not the one that the hub will record", url)
	}
	c.Apply(&agentv1.Desired{Revision: 2, Replicas: []*agentv1.DesiredReplica{goal(img1, func(d *agentv1.DesiredReplica) {
		filling(d)
		d.Content.ContentId = string(img3) // the goal is another content by now
	})}})
	if c.Published(img1) {
		t.Error("a copy of another content is shown")
	}
	copies.set(img1, isFailed)
	c.Apply(&agentv1.Desired{Revision: 3, Replicas: []*agentv1.DesiredReplica{goal(img1, nil)}})
	if !c.Published(img1) {
		t.Error("what the hub has recorded does not count")
	}
}

func TestSeveralStores(t *testing.T) {
	t.Parallel()
	c, _ := quietCatalogue()
	other := goal(img1, func(d *agentv1.DesiredReplica) {
		d.StoreId = "dcn0-ssd"
		d.Metadata.Revision, d.Metadata.Name, d.Metadata.Location = 2, "newer", "rbd://fsid/ssd/x/snap"
	})
	c.Apply(snapshot(other, goal(img1, nil)))
	img := c.Image(img1)
	if img.Name != "newer" || !slices.Equal(img.Stores, []string{st0, "dcn0-ssd"}) || c.Images().Len() != 1 {
		t.Errorf("shown: %+v", img)
	}
	c.Apply(&agentv1.Desired{Revision: 2, Removed: []*agentv1.ReplicaKey{{ImageId: string(img1), StoreId: "dcn0-ssd"}}})
	if img := c.Image(img1); img == nil || img.Name != "cirros" || len(img.Stores) != 1 {
		t.Errorf("after the removal of one copy: %+v", img)
	}
}

func TestCatalogueSurvivesARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, _ := quietCatalogue()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Keep(ctx, dir) }()
	c.Apply(snapshot(goal(img1, func(d *agentv1.DesiredReplica) {
		d.Metadata.Tags, d.Metadata.Properties = []string{"a"}, map[string]string{"k": "v"}
		d.Metadata.Members = []*agentv1.ImageMember{{ProjectId: "p2", Status: "accepted", CreateTime: d.Metadata.CreateTime}}
	}), goal(img2, nil), goal(img3, filling)))
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	again, _ := quietCatalogue()
	again.Load(dir)
	if got := again.names(); got != "3:cirros 2:cirros 1:cirros" {
		t.Fatalf("after a restart: %q", got)
	}
	img := again.Image(img1)
	if img.Tags[0] != "a" || img.Properties["k"] != "v" || img.Members[0].ProjectID != "p2" || !again.Published(img1) || again.Published(img3) {
		t.Errorf("after a restart: %+v", img)
	}
	select {
	case <-again.changed:
		t.Error("what was read is written again")
	default:
	}
	again.Apply(snapshot(goal(img2, nil))) // the hub is back
	if got := again.names(); got != "2:cirros" {
		t.Errorf("after the hub came back: %q", got)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("files: %v %v", entries, err)
	}
}

func TestDamagedFileIsAnEmptyCatalogue(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, fileName)
	c, _ := quietCatalogue()
	c.Apply(snapshot(goal(img1, nil)))
	if !c.write(path) {
		t.Fatal("not written")
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flipped := slices.Clone(good)
	flipped[len(flipped)-3] ^= 1
	for name, bad := range map[string][]byte{
		"empty": {}, "cut": good[:len(good)-1], "cut head": good[:20], "flipped": flipped, "longer": append(slices.Clone(good), 0),
		"another version": []byte(strings.Replace(string(good), " 1 ", " 2 ", 1)), "text": []byte(strings.Repeat("x", 500)),
	} {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		log, said := logged()
		c := NewCatalogue("dcn0", newFakeCopies(), log)
		c.Load(dir)
		if c.Images().Len() != 0 || !strings.Contains(said(), "not usable") {
			t.Errorf("%s: %d images, log %q", name, c.Images().Len(), said())
		}
	}
	log, said := logged()
	NewCatalogue("dcn0", newFakeCopies(), log).Load(t.TempDir())
	if said() != "" {
		t.Errorf("a first start says %q", said())
	}
}

// A write that fails is tried again.
func TestKeepTriesAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "missing")
	log, said := logged()
	c := NewCatalogue("dcn0", newFakeCopies(), log)
	c.Apply(snapshot(goal(img1, nil)))
	if c.write(filepath.Join(dir, fileName)) || !strings.Contains(said(), "not written") {
		t.Fatalf("written into nowhere; log %q", said())
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Keep(ctx, dir); err != nil {
		t.Fatal(err)
	}
	again, _ := quietCatalogue()
	if again.Load(dir); again.Image(img1) == nil {
		t.Error("not written at the end")
	}
}

func TestCatalogueIsBounded(t *testing.T) {
	t.Parallel()
	log, said := logged()
	c := NewCatalogue("dcn0", newFakeCopies(), log)
	big := strings.Repeat("x", 1<<20)
	var goals []*agentv1.DesiredReplica
	for i := range 2 + maxBytes>>20 {
		goals = append(goals, goal(image.ID(fmt.Sprintf("%08x%s", i, img1[8:])), func(d *agentv1.DesiredReplica) { d.Metadata.Name = big }))
	}
	c.Apply(snapshot(goals...))
	if n := c.Images().Len(); n == 0 || n > maxBytes>>20 || c.bytes > maxBytes || strings.Count(said(), "more images than") != 1 {
		t.Errorf("%d images of 1 MiB, %d bytes, log %q", n, c.bytes, said())
	}
}
