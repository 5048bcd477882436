package reconcile

import (
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/hub/internal/catalog/catalogtest"
	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// Readers choose who sends what they wait for, the first one for all, until they are done.
func TestNeedsPrefer(t *testing.T) {
	t.Parallel()
	area := &fakeStaging{wants: []image.ID{contentID}}
	var offers map[image.SiteID][]*agentv1.Offer
	n := NewNeeds(catalogtest.New(), area, func(o map[image.SiteID][]*agentv1.Offer) { offers = o }, hclog.NewNullLogger())
	b := newBoard(t, central, "dcn0", "dcn1")
	n.set(image.ID(b.a.Image.Id), needOf(b.a, b.w))
	n.complete()
	want := func(site image.SiteID) {
		t.Helper()
		n.pass()
		if o := offers[site]; len(offers) != 1 || len(o) != 1 || o[0].StoreId != string(site) || o[0].Content.ContentId != contentID {
			t.Fatalf("got %v, want an offer of %s", offers, site)
		}
	}
	want("central")
	first := n.Prefer(contentID, "dcn1", "dcn1")
	second := n.Prefer(contentID, "dcn0", "dcn0")
	other := n.Prefer("another", "dcn0", "dcn0")
	want("dcn1")
	first()
	want("dcn0")
	second()
	other()
	want("central")
	if len(n.preferred) != 0 {
		t.Fatalf("left: %v", n.preferred)
	}
}
