package edge

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// told returns what the hub is told next, sorted.
func told(a *Awaited) []string {
	var out []string
	for _, k := range a.Take().GetReplicas() {
		out = append(out, k.ImageId[:1]+"@"+k.StoreId)
	}
	slices.Sort(out)
	return out
}

func wantTold(t *testing.T, a *Awaited, what string, want ...string) {
	t.Helper()
	if got := told(a); !slices.Equal(got, want) {
		t.Errorf("%s: the hub is told %q, want %q", what, got, want)
	}
}

func TestAwaitedRequests(t *testing.T) {
	t.Parallel()
	s := newEdgeSite(t, nil)
	s.hold(img1, random(100))
	s.cat.Apply(&agentv1.Desired{Replicas: []*agentv1.DesiredReplica{goal(img2, filling)}})
	s.copies.set(img2, isFilling)
	for _, r := range []struct{ method, path string }{
		{"GET", path1},
		{"GET", path1 + "/file"},
		{"GET", "/v2/images"},
		{"GET", path2 + "/members"},
		{"GET", "/v2/images/" + string(img3)},
		{"POST", path2 + "/import"},
		{"PATCH", path2},
	} {
		s.do(r.method, r.path, nil)
		wantTold(t, s.awaited, r.method+" "+r.path)
	}
	s.hub.handle(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	s.get(path2)
	wantTold(t, s.awaited, "somebody who may not see the image")
	s.hub.handle(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	for _, path := range []string{path2, path2 + "/locations", path2 + "/file"} {
		s.get(path)
		select {
		case <-s.awaited.Changed():
		default:
			t.Errorf("%s: nothing is said to have changed", path)
		}
		wantTold(t, s.awaited, path, "2@dcn0")
		s.get(path)
		wantTold(t, s.awaited, "again within a minute: "+path)
		s.pass(remindAfter)
	}
	s.cat.Apply(&agentv1.Desired{Replicas: []*agentv1.DesiredReplica{goal(img2, func(d *agentv1.DesiredReplica) {
		filling(d)
		d.Priority = agentv1.Priority_PRIORITY_HIGH
	})}})
	s.get(path2)
	wantTold(t, s.awaited, "a copy that goes first already")
}

// A store that still fills while another one at the site has the image is not waited for, nor is a copy to be taken over.
func TestOnTheWay(t *testing.T) {
	t.Parallel()
	c, copies := quietCatalogue()
	in := func(store string, change func(*agentv1.DesiredReplica)) *agentv1.DesiredReplica {
		return goal(img1, func(d *agentv1.DesiredReplica) {
			d.StoreId = store
			change(d)
		})
	}
	c.Apply(snapshot(in("ssd", filling), in(st0, filling), in("tape", func(d *agentv1.DesiredReplica) {
		filling(d)
		d.Goal = agentv1.Goal_GOAL_ADOPTED
	})))
	if got := c.OnTheWay(img1); !slices.Equal(got, []image.StoreID{st0, "ssd"}) {
		t.Errorf("on the way to %q", got)
	}
	if got := c.OnTheWay(img2); got != nil {
		t.Errorf("an unknown image is on the way to %q", got)
	}
	copies.set(img1, isPresent)
	if got := c.OnTheWay(img1); got != nil {
		t.Errorf("published a moment ago, and on the way to %q", got)
	}
	copies.set(img1, isFilling)
	c.Apply(&agentv1.Desired{Replicas: []*agentv1.DesiredReplica{in("ssd", func(*agentv1.DesiredReplica) {})}})
	if got := c.OnTheWay(img1); got != nil {
		t.Errorf("published in ssd, and on the way to %q", got)
	}
}

func TestAwaitedIsBounded(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	a := NewAwaited(func() time.Time { return now })
	ask := func(from, count int) {
		for i := range count {
			a.add(image.ID(fmt.Sprintf("%d", from+i)), []image.StoreID{st0})
		}
	}
	ask(0, 3*mostToTell)
	if got := len(told(a)); got != mostToTell {
		t.Errorf("%d copies told at once", got)
	}
	for i := mostToTell; i < 2*mostRemembered; i += mostToTell {
		ask(i, mostToTell)
		a.Take()
	}
	if got := len(a.again); got != mostRemembered {
		t.Errorf("%d copies remembered", got)
	}
	ask(-1, 1)
	wantTold(t, a, "no room")
	now = now.Add(remindAfter)
	ask(-2, 1)
	wantTold(t, a, "room again", "-@dcn0")
	ask(-3, 1)
	now = now.Add(remindAfter)
	wantTold(t, a, "asked for long ago")
}
