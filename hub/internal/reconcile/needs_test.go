package reconcile

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/catalog/catalogtest"
	"github.com/atoll-dcn/atoll/hub/internal/staging"
	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeStaging is a staging area of which only the lists exist.
type fakeStaging struct {
	changed chan struct{}

	mu        sync.Mutex
	needs     map[image.ID]staging.Need
	wants     []image.ID
	contents  []staging.Info
	forgotten []image.ID
	lost      bool // no content is known
}

func (f *fakeStaging) SetNeeds(n map[image.ID]staging.Need) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.needs = n
}

func (f *fakeStaging) Wants() []image.ID {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.wants
}

func (f *fakeStaging) WantsChanged() <-chan struct{} { return f.changed }
func (f *fakeStaging) Contents() []staging.Info      { return f.contents }
func (f *fakeStaging) Has(image.ID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.lost
}
func (f *fakeStaging) Forget(id image.ID) { f.forgotten = append(f.forgotten, id) }

func TestNeedOf(t *testing.T) {
	t.Parallel()
	filling := func(b *board, s image.StoreID, content string, contiguous int64) {
		b.plan()
		b.answer(s, &agentv1.ObservedReplica{State: siteFilling, ContentId: content, Progress: &agentv1.Progress{ChunksContiguous: contiguous}})
	}
	for name, c := range map[string]struct {
		copies []image.StoreID
		do     func(b *board)
		need   staging.Need
		source image.SiteID
	}{
		"central is behind": {nil, func(b *board) {
			b.startImport(false, "central", "dcn0")
			filling(b, "dcn0", contentID, 9)
			filling(b, central, contentID, 5)
		}, staging.Need{Fills: 2, PinFrom: 5}, ""},
		"central still writes another content": {nil, func(b *board) {
			b.startImport(false, "central")
			filling(b, central, "another", 5)
		}, staging.Need{Fills: 1}, ""},
		"central has it": {[]image.StoreID{central}, func(b *board) {
			b.start(storev1.OperationKind_OPERATION_KIND_COPY, "dcn0")
			b.plan()
		}, staging.Need{Fills: 1, PinFrom: staging.Unpinned, HasSource: true}, "central"},
		"one waits for its retry": {[]image.StoreID{central}, func(b *board) {
			b.start(storev1.OperationKind_OPERATION_KIND_COPY, "dcn0")
			b.plan()
			b.fail("dcn0", "STORE_UNREACHABLE", true)
		}, staging.Need{PinFrom: staging.Unpinned, HasSource: true}, "central"},
		"one has given up": {[]image.StoreID{central}, func(b *board) {
			b.start(storev1.OperationKind_OPERATION_KIND_COPY, "dcn0")
			b.plan()
			b.fail("dcn0", "NO_SPACE", false)
		}, staging.Need{PinFrom: staging.Unpinned, HasSource: true}, "central"},
		"central is preferred": {
			[]image.StoreID{"a", central, "dcn0"},
			func(*board) {},
			staging.Need{PinFrom: staging.Unpinned, HasSource: true},
			"central",
		},
		"central is away": {
			[]image.StoreID{central, "dcn0"},
			func(b *board) { b.connect(central, false) },
			staging.Need{PinFrom: staging.Unpinned, HasSource: true},
			"dcn0",
		},
		"nobody is there": {
			[]image.StoreID{central},
			func(b *board) { b.connect(central, false) },
			staging.Need{PinFrom: staging.Unpinned},
			"",
		},
		"the copy is being removed": {[]image.StoreID{central, "dcn0"}, func(b *board) {
			b.a.Replicas[0] = catalog.BeginRemoval(b.a.Replicas[0], b.w.Now)
		}, staging.Need{PinFrom: staging.Unpinned, HasSource: true}, "dcn0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBoard(t, c.copies...)
			c.do(b)
			n := needOf(b.a, b.w)
			if n.content != contentID || n.need != c.need || n.site != c.source || (n.offer != nil) != n.need.HasSource {
				t.Fatalf("got %+v, want %+v from %q", n, c.need, c.source)
			}
		})
	}
}

func TestNeedOfNothing(t *testing.T) {
	t.Parallel()
	b := newBoard(t, central)
	b.a.Image.Status = storev1.ImageStatus_IMAGE_STATUS_DELETED
	if n := needOf(b.a, b.w); n != (imageNeed{}) {
		t.Fatalf("a deleted image needs %+v", n)
	}
	b.a.Image.Status, b.a.Image.Content = queuedImage, nil
	if n := needOf(b.a, b.w); n != (imageNeed{}) {
		t.Fatalf("a queued image needs %+v", n)
	}
}

func TestNeedsPass(t *testing.T) {
	t.Parallel()
	area := &fakeStaging{}
	var offers map[image.SiteID][]*agentv1.Offer
	n := NewNeeds(catalogtest.New(), area, func(o map[image.SiteID][]*agentv1.Offer) { offers = o }, hclog.NewNullLogger())
	b := newBoard(t, central)
	id := image.ID(b.a.Image.Id)
	n.set(id, needOf(b.a, b.w))
	n.pass()
	if area.needs != nil || offers != nil {
		t.Fatal("told before every image has been looked at")
	}
	n.complete()
	n.pass()
	if got := area.needs[contentID]; got.PinFrom != staging.Unpinned || len(offers) != 0 {
		t.Fatalf("got %+v, offers %v although nobody wants any", got, offers)
	}
	area.wants = []image.ID{contentID, "unknown"}
	n.pass()
	if o := offers["central"]; len(offers) != 1 || len(o) != 1 || o[0].StoreId != "central" || o[0].Content.ContentId != contentID || o[0].Manifest {
		t.Fatalf("offers %v", offers)
	}
	area.lost = true
	n.pass()
	if o := offers["central"]; len(o) != 1 || !o[0].Manifest || n.needs[id].offer.Manifest {
		t.Fatalf("with the manifest lost: %v", offers)
	}
	n.set(id, imageNeed{})
	n.pass()
	if len(area.needs) != 0 || len(offers) != 0 {
		t.Fatalf("left: %v, %v", area.needs, offers)
	}
}

// A reader that begins to wait is enough to make the sites offer.
func TestNeedsRun(t *testing.T) {
	t.Parallel()
	area := &fakeStaging{changed: make(chan struct{}, 1), wants: []image.ID{contentID}}
	told := make(chan map[image.SiteID][]*agentv1.Offer, 8)
	n := NewNeeds(catalogtest.New(), area, func(o map[image.SiteID][]*agentv1.Offer) { told <- o }, hclog.NewNullLogger())
	b := newBoard(t, central)
	n.set(image.ID(b.a.Image.Id), needOf(b.a, b.w))
	n.complete()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	if o := <-told; len(o["central"]) != 1 {
		t.Errorf("after a change of records: %v", o)
	}
	area.mu.Lock()
	area.wants = nil
	area.mu.Unlock()
	area.changed <- struct{}{}
	if o := <-told; len(o) != 0 {
		t.Errorf("after the last reader has gone: %v", o)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestNeedsForget(t *testing.T) {
	t.Parallel()
	records := catalogtest.New()
	b := newBoard(t)
	records.Put(catalog.ImageKey(image.ID(b.a.Image.Id)), b.a.Image)
	area := &fakeStaging{contents: []staging.Info{
		{ID: contentID, Complete: true}, {ID: "stray", Complete: true}, {ID: "aborted", Gone: true}, {ID: "growing"},
	}}
	n := NewNeeds(records, area, nil, hclog.NewNullLogger())
	seen := n.forget(nil)
	if len(area.forgotten) != 0 {
		t.Fatalf("forgotten at first sight: %v", area.forgotten)
	}
	n.forget(seen)
	slices.Sort(area.forgotten)
	if !slices.Equal(area.forgotten, []image.ID{"aborted", "stray"}) {
		t.Fatalf("forgotten: %v", area.forgotten)
	}
}
