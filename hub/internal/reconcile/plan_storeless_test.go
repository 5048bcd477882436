package reconcile

import (
	"testing"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// lose removes a store together with its site, and plans.
func (b *board) lose(s image.StoreID) {
	b.t.Helper()
	delete(b.w.Stores, s)
	delete(b.w.Observed, s)
	b.plan()
	if r := b.replica(s); r != nil {
		b.t.Fatalf("left in a store that is gone: %v", r)
	}
}

// A copy that was asked for at the moment its site was deleted does not wait for ever.
func TestPlanStoreGoneDuringCopy(t *testing.T) {
	t.Parallel()
	b := newBoard(t, central)
	o := b.start(storev1.OperationKind_OPERATION_KIND_COPY, "dcn0", "dcn1")
	b.plan()
	b.lose("dcn0")
	b.wantOp(o, running, "", failed, running)
	b.say("dcn1", sitePresent)
	b.wantOp(o, succeeded, "", failed, succeeded)
	if e := b.ops[o.Id].Stores[0].Error; e.GetReason() != catalog.ReasonStoreGone || e.GetMessage() == "" {
		t.Fatalf("got %v", e)
	}
	b.wantImage(activeImage)
}

func TestPlanStoreGoneDuringImport(t *testing.T) {
	t.Parallel()
	b := newBoard(t)
	o := b.startImport(true, "central", "dcn0")
	b.plan()
	b.say(central, siteFilling)
	b.lose("dcn0")
	b.say(central, siteAbsent)
	b.wantOp(o, failed, catalog.ReasonStoreGone, cancelled, failed)
	b.wantImage(queuedImage, "dcn0")
}

func TestPlanStoreGoneDuringAdoption(t *testing.T) {
	t.Parallel()
	b, o := adoptingBoard(t, nil)
	b.lose("dcn0")
	b.wantOp(o, failed, catalog.ReasonStoreGone, failed)
	b.wantDisowned()
}

// A tombstone does not outlive the store whose site would have carried it out.
func TestPlanTombstoneOfAStoreThatIsGone(t *testing.T) {
	t.Parallel()
	b := newBoard(t, central, "dcn0")
	b.connect("dcn0", false)
	o := b.startDelete()
	b.plan()
	b.say(central, siteCondemned)
	b.say(central, siteAbsent)
	b.wantOp(o, succeeded, "", succeeded, succeeded)
	if b.a.Image == nil {
		t.Fatal("the tombstone is gone too early")
	}
	b.lose("dcn0")
	if b.a.Image != nil {
		t.Fatalf("left: %v", b.a)
	}
}

// An image whose last copy went away with its site can be imported again.
func TestPlanLastCopyGone(t *testing.T) {
	t.Parallel()
	b := newBoard(t, "dcn0")
	b.lose("dcn0")
	b.wantImage(queuedImage)
	if b.a.Image.Content != nil {
		t.Fatalf("left: %v", b.a.Image)
	}
	b = newBoard(t, central, "dcn0")
	b.lose("dcn0")
	b.wantImage(activeImage)
	b = newBoard(t) // an image of no bytes never had a copy
	b.a.Image.Content = &storev1.Content{Complete: true}
	b.plan()
	b.wantImage(activeImage)
}
