package catalog_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/catalog/catalogtest"
	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

const (
	pending  = storev1.ReplicaPhase_REPLICA_PHASE_PENDING
	active   = storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE
	failed   = storev1.ReplicaPhase_REPLICA_PHASE_FAILED
	deleting = storev1.ReplicaPhase_REPLICA_PHASE_DELETING
)

// world is a catalog over records in memory with the stores central, dcn0 and dcn1, each at the site of the same name.
type world struct {
	*catalog.Catalog
	t       *testing.T
	records *catalogtest.Records
	now     time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := emptyWorld(t)
	for _, s := range []string{"central", "dcn0", "dcn1"} {
		if _, err := w.CreateSite(t.Context(), image.SiteID(s), ""); err != nil {
			t.Fatal(err)
		}
		w.register(s)
	}
	return w
}

func emptyWorld(t *testing.T) *world {
	w := &world{t: t, records: catalogtest.New(), now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	w.Catalog = catalog.New(w.records, "central", catalog.DefaultLimits(), w.clock)
	return w
}

// register announces the store of a site of the same name.
func (w *world) register(store string) {
	w.t.Helper()
	st := &agentv1.StoreStatus{StoreId: store, Driver: "ceph", Fsid: "fsid-" + store, Pool: "images"}
	if err := w.RegisterStore(w.t.Context(), image.SiteID(store), st); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) clock() time.Time { return w.now }

// queued creates an image without data.
func (w *world) queued() image.ID {
	w.t.Helper()
	img, err := w.CreateImage(w.t.Context(), catalog.NewImage{Name: "x", DiskFormat: "raw", ContainerFormat: "bare"})
	if err != nil {
		w.t.Fatal(err)
	}
	return image.ID(img.Id)
}

// active creates an active image with copies in the given phases.
func (w *world) active(copies map[image.StoreID]storev1.ReplicaPhase) image.ID {
	w.t.Helper()
	id := w.queued()
	w.change(id, func(img *storev1.Image) {
		img.Status = storev1.ImageStatus_IMAGE_STATUS_ACTIVE
		img.Content = &storev1.Content{Id: "content", Complete: true}
	})
	for store, phase := range copies {
		w.records.Put(catalog.ReplicaKey(id, store), &storev1.Replica{
			ImageId: string(id), StoreId: string(store), SiteId: string(store), Phase: phase, Generation: 7, ContentId: "content", Attempts: 3,
		})
	}
	return id
}

// change changes the record of an image.
func (w *world) change(id image.ID, f func(*storev1.Image)) {
	w.t.Helper()
	old, _ := w.records.Image(id)
	if old == nil {
		w.t.Fatalf("no image %s", id)
	}
	img := proto.CloneOf(old)
	f(img)
	w.records.Put(catalog.ImageKey(id), img)
}

// wantFault checks an error's class and reason.
func wantFault(t *testing.T, err error, class fault.Class, reason string) {
	t.Helper()
	if err == nil || fault.ClassOf(err) != class || fault.ReasonOf(err) != reason {
		t.Fatalf("got %v (%s, %s), want %s, %s", err, fault.ClassOf(err), fault.ReasonOf(err), class, reason)
	}
}

// wantField checks that an error blames exactly one field.
func wantField(t *testing.T, err error, name string) {
	t.Helper()
	f, ok := fault.As(err)
	if !ok || f.Class != fault.Invalid || len(f.Fields) != 1 || f.Fields[0].Name != name {
		t.Fatalf("got %v, want an error about %s", err, name)
	}
}

// storesOf returns the stores of an operation.
func storesOf(o *storev1.Operation) []string {
	var out []string
	for _, p := range o.GetStores() {
		out = append(out, p.StoreId)
	}
	return out
}

func TestCreateImageFields(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in    catalog.NewImage
		field string
	}{
		"longest name":         {catalog.NewImage{Name: strings.Repeat("n", 255)}, ""},
		"iso":                  {catalog.NewImage{DiskFormat: "iso", ContainerFormat: "bare"}, ""},
		"name too long":        {catalog.NewImage{Name: strings.Repeat("n", 256)}, "image.name"},
		"name not UTF-8":       {catalog.NewImage{Name: "\xff"}, "image.name"},
		"qcow2 in an OVA":      {catalog.NewImage{DiskFormat: "qcow2", ContainerFormat: "ova"}, ""},
		"disk format":          {catalog.NewImage{DiskFormat: "floppy"}, "image.disk_format"},
		"container":            {catalog.NewImage{ContainerFormat: "box"}, "image.container_format"},
		"negative memory":      {catalog.NewImage{MinRAMMB: -1}, "image.min_disk"},
		"long tag":             {catalog.NewImage{Tags: []string{strings.Repeat("t", 256)}}, "image.tags"},
		"long owner":           {catalog.NewImage{Owner: strings.Repeat("o", 256)}, "image.owner"},
		"empty property key":   {catalog.NewImage{Properties: map[string]string{"": "v"}}, "image.properties"},
		"long property value":  {catalog.NewImage{Properties: map[string]string{"k": strings.Repeat("v", 65536)}}, "image.properties"},
		"reserved property":    {catalog.NewImage{Properties: map[string]string{"os_glance_failed_import": "dcn0"}}, "image.properties"},
		"property of any name": {catalog.NewImage{Properties: map[string]string{"hw_disk_bus": "virtio"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := emptyWorld(t)
			img, err := w.CreateImage(t.Context(), c.in)
			if c.field != "" {
				wantField(t, err, c.field)
				if len(w.records.Images()) != 0 {
					t.Fatal("a refused image is recorded")
				}
				return
			}
			if err != nil || img.Status != storev1.ImageStatus_IMAGE_STATUS_QUEUED || img.Visibility != storev1.Visibility_VISIBILITY_SHARED {
				t.Fatalf("got %v, %v", img, err)
			}
			if _, err := image.ParseID("id", img.Id); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestCreateImageTakenID(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t)
	id := w.queued()
	_, err := w.CreateImage(t.Context(), catalog.NewImage{ID: id})
	wantFault(t, err, fault.Exists, "IMAGE_EXISTS")
	w.change(id, func(img *storev1.Image) { img.Status = storev1.ImageStatus_IMAGE_STATUS_DELETED })
	_, err = w.CreateImage(t.Context(), catalog.NewImage{ID: id})
	wantFault(t, err, fault.Exists, "IMAGE_EXISTS")
}

// The id of a deleted image is its project's: nobody else may offer other data under it, or read what was done with it.
func TestCreateImageWithTheIDOfAnother(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t)
	mine := auth.With(t.Context(), &auth.Caller{ProjectID: "p1"})
	img, err := w.CreateImage(mine, catalog.NewImage{Owner: "p1"})
	if err != nil {
		t.Fatal(err)
	}
	id := image.ID(img.Id)
	if _, err := w.DeleteImage(mine, id); err != nil {
		t.Fatal(err)
	}
	if gone, _ := w.records.Image(id); gone != nil {
		t.Fatal("the image is there still")
	}
	_, err = w.CreateImage(t.Context(), catalog.NewImage{ID: id, Owner: "p2"})
	wantFault(t, err, fault.Exists, "IMAGE_EXISTS")
	if _, err := w.CreateImage(mine, catalog.NewImage{ID: id, Owner: "p1"}); err != nil {
		t.Errorf("the same project: %v", err)
	}
}

func rename(name string) func(*storev1.Image) error {
	return func(img *storev1.Image) error { img.Name = name; return nil }
}

func protect(img *storev1.Image) error { img.Protected = true; return nil }

func TestEditImage(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t)
	id := w.queued()
	_, etag := w.records.Image(id)
	w.now = w.now.Add(time.Minute)
	if err := w.EditImage(t.Context(), id, etag, rename("new")); err != nil {
		t.Fatal(err)
	}
	err := w.EditImage(t.Context(), id, etag, protect)
	wantFault(t, err, fault.Precondition, "STALE_ETAG")
	if err := w.EditImage(t.Context(), id, 0, protect); err != nil {
		t.Fatal(err)
	}
	img, _ := w.records.Image(id)
	if img.Name != "new" || !img.Protected || !img.UpdateTime.AsTime().Equal(w.now) {
		t.Fatalf("got %v", img)
	}
	wantField(t, w.EditImage(t.Context(), id, 0, rename(strings.Repeat("n", 256))), "image.name")
	wantFault(t, w.EditImage(t.Context(), image.NewID(), 0, protect), fault.NotFound, "IMAGE_NOT_FOUND")
}

// An update that loses a race is repeated on top of the winner, unless an etag forbids it.
func TestEditImageRace(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t)
	id := w.queued()
	race := func() { w.change(id, func(img *storev1.Image) { img.Properties = map[string]string{"k": "v"} }) }
	w.records.RaceNext(race)
	if err := w.EditImage(t.Context(), id, 0, rename("new")); err != nil {
		t.Fatal(err)
	}
	img, etag := w.records.Image(id)
	if img.Name != "new" || img.Properties["k"] != "v" {
		t.Fatalf("one of the two changes is lost: %v", img)
	}
	w.records.RaceNext(race)
	err := w.EditImage(t.Context(), id, etag, protect)
	wantFault(t, err, fault.Precondition, "STALE_ETAG")
}

// All of many requests that change one image succeed, also where the store takes its time for each.
func TestManyRequestsAtASlowStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := emptyWorld(t)
		id := w.queued()
		const many = 80
		for range many * 100 {
			w.records.RaceNext(func() { <-time.After(250 * time.Millisecond) })
		}
		var g errgroup.Group
		for i := range many {
			g.Go(func() error {
				return w.EditImage(t.Context(), id, 0, func(img *storev1.Image) error {
					img.Tags = append(img.Tags, fmt.Sprint("tag-", i))
					return nil
				})
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		if img, _ := w.records.Image(id); len(img.Tags) != many {
			t.Errorf("%d of %d changes are there", len(img.Tags), many)
		}
	})
}

// Losing races has an end.
func TestRepeatIsBounded(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t)
	id := w.queued()
	w.records.FailNext(slices.Repeat([]error{fault.New(fault.Conflict, "RECORD_CHANGED", "changed")}, 1000)...)
	wantFault(t, w.EditImage(t.Context(), id, 0, rename("other")), fault.Conflict, "RECORD_CHANGED")
}
