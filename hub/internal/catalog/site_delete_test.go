package catalog_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// join gives a site a certificate and a join token.
func (w *world) join(site image.SiteID) {
	w.t.Helper()
	err := w.ChangeSite(w.t.Context(), site, func(s *storev1.Site) error {
		s.Certificates = []*storev1.Certificate{{Serial: "01"}}
		s.JoinTokenHash = []byte("hash")
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) wantNoSite(site string) {
	w.t.Helper()
	if s, _ := w.records.Site(image.SiteID(site)); s != nil {
		w.t.Fatalf("left: %v", s)
	}
	if s, _ := w.records.Store(image.StoreID(site)); s != nil {
		w.t.Fatalf("left: %v", s)
	}
	if r := w.records.StoreReplicas(image.StoreID(site)); len(r) > 0 {
		w.t.Fatalf("left: %v", r)
	}
}

// More copies and tombstones than fit into one commit go with their site; other sites keep theirs.
func TestForceDeleteSite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const each = 2 * catalog.MaxWrites
	for range each {
		w.active(phases{"central": active, "dcn0": active})
		w.active(phases{"central": active, "dcn0": deleting, "dcn1": failed})
	}
	wantFault(t, w.DeleteSite(t.Context(), "dcn0"), fault.Precondition, "SITE_IN_USE")
	n, err := w.ForceDeleteSite(t.Context(), "dcn0", false)
	if err != nil || n != 2*each {
		t.Fatalf("dropped %d, %v", n, err)
	}
	w.wantNoSite("dcn0")
	if c, d := len(w.records.StoreReplicas("central")), len(w.records.StoreReplicas("dcn1")); c != 2*each || d != each {
		t.Fatalf("the other sites have %d and %d copies", c, d)
	}
	_, err = w.ForceDeleteSite(t.Context(), "dcn0", false)
	wantFault(t, err, fault.NotFound, "SITE_NOT_FOUND")
}

// Operations that want copies at the site learn why there will be none; others do not care.
func TestForceDeleteSiteEndsParts(t *testing.T) {
	t.Parallel()
	for kind, want := range map[storev1.OperationKind]string{
		storev1.OperationKind_OPERATION_KIND_IMPORT:         catalog.ReasonStoreGone,
		storev1.OperationKind_OPERATION_KIND_COPY:           catalog.ReasonStoreGone,
		storev1.OperationKind_OPERATION_KIND_ADOPT:          catalog.ReasonStoreGone,
		storev1.OperationKind_OPERATION_KIND_DELETE_IMAGE:   "",
		storev1.OperationKind_OPERATION_KIND_DELETE_REPLICA: "",
	} {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			id := w.active(phases{"central": active, "dcn0": pending})
			running := storev1.OperationState_OPERATION_STATE_RUNNING
			op := &storev1.Operation{
				Id: string(image.NewID()), Kind: kind, ImageId: string(id), State: running,
				Stores: []*storev1.OperationStore{{StoreId: "dcn0", State: running, Created: true}, {StoreId: "dcn1", State: running}},
			}
			w.records.Put(catalog.OperationKey(image.ID(op.Id)), op)
			if _, err := w.ForceDeleteSite(t.Context(), "dcn0", false); err != nil {
				t.Fatal(err)
			}
			got, _ := w.records.Operation(image.ID(op.Id))
			if e := got.Stores[0].Error; e.GetReason() != want || (want != "") != strings.Contains(e.GetMessage(), "dcn0") {
				t.Fatalf("got %v", e)
			}
			if !proto.Equal(got.Stores[1], op.Stores[1]) || got.State != running {
				t.Fatalf("got %v", got)
			}
		})
	}
}

// One image with more operations than fit into a commit.
func TestForceDeleteSiteWithManyOperations(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.active(phases{"central": active, "dcn0": pending})
	running := storev1.OperationState_OPERATION_STATE_RUNNING
	for range 2*catalog.MaxWrites + 1 {
		op := &storev1.Operation{
			Id: string(image.NewID()), Kind: storev1.OperationKind_OPERATION_KIND_COPY, ImageId: string(id), State: running,
			Stores: []*storev1.OperationStore{{StoreId: "dcn0", State: running, Joined: true}},
		}
		w.records.Put(catalog.OperationKey(image.ID(op.Id)), op)
	}
	if n, err := w.ForceDeleteSite(t.Context(), "dcn0", false); n != 1 || err != nil {
		t.Fatalf("dropped %d, %v", n, err)
	}
	for _, o := range w.records.Operations() {
		if o.Stores[0].Error.GetReason() != catalog.ReasonStoreGone {
			t.Fatalf("got %v", o)
		}
	}
}

// A refused request names some of the images and changes nothing.
func TestForceDeleteSiteLastCopy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join("dcn0")
	for range 12 {
		w.active(phases{"central": failed, "dcn0": active})
	}
	w.active(phases{"central": active, "dcn0": active})
	w.change(w.active(phases{"dcn0": deleting}), func(img *storev1.Image) { img.Status = storev1.ImageStatus_IMAGE_STATUS_DELETED })
	before := w.records.Commits()
	_, err := w.ForceDeleteSite(t.Context(), "dcn0", false)
	wantFault(t, err, fault.Precondition, "LAST_COPY")
	if m := fault.Public(err); strings.Count(m, ",") != 9+2 || !strings.Contains(m, "12 active images") || !strings.Contains(m, "and 2 more") {
		t.Fatalf("message: %s", m)
	}
	if w.records.Commits() != before {
		t.Fatal("a refused request has changed something")
	}
	if n, err := w.ForceDeleteSite(t.Context(), "dcn0", true); err != nil || n != 14 {
		t.Fatalf("dropped %d, %v", n, err)
	}
	w.wantNoSite("dcn0")
}

// Whoever deletes the copy that lets this one go, at the same moment, makes this one the last.
func TestForceDeleteSiteLastCopyRace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join("dcn0")
	id := w.active(phases{"central": active, "dcn0": active})
	w.records.FailNext(nil) // the certificates
	w.records.RaceNext(func() {
		if _, err := w.DeleteReplica(t.Context(), id, "central"); err != nil {
			t.Error(err)
		}
	})
	_, err := w.ForceDeleteSite(t.Context(), "dcn0", false)
	wantFault(t, err, fault.Precondition, "LAST_COPY")
	if r, _ := w.records.Replica(id, "dcn0"); r.GetPhase() != active {
		t.Fatalf("got %v", r)
	}
	if s, _ := w.records.Site("dcn0"); !s.Certificates[0].Revoked || s.JoinTokenHash != nil {
		t.Fatalf("the agent may come back while its copies are dropped: %v", s)
	}
}

// A copy that is asked for while the site goes is dropped too, and a call that broke off can be repeated.
func TestForceDeleteSiteAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.active(phases{"central": active, "dcn0": active})
	broken := fault.New(fault.Unavailable, "OUTCOME_UNKNOWN", "no answer")
	w.records.FailNext(nil, broken)
	_, err := w.ForceDeleteSite(t.Context(), "dcn0", false)
	wantFault(t, err, fault.Unavailable, "OUTCOME_UNKNOWN")
	w.records.FailNext(nil) // the certificates
	w.records.RaceNext(func() {
		r := &storev1.Replica{ImageId: string(first), StoreId: "dcn0", SiteId: "dcn0", Phase: pending}
		for range 3 {
			other := w.active(phases{"central": active})
			r.ImageId = string(other)
			w.records.Put(catalog.ReplicaKey(other, "dcn0"), r)
		}
	})
	if n, err := w.ForceDeleteSite(t.Context(), "dcn0", false); err != nil || n != 4 {
		t.Fatalf("dropped %d, %v", n, err)
	}
	w.wantNoSite("dcn0")
}

func TestDeleteSiteWithManyStores(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range catalog.MaxWrites + 1 {
		if err := w.RegisterStore(t.Context(), "dcn0", &agentv1.StoreStatus{StoreId: fmt.Sprintf("dcn0-%d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.DeleteSite(t.Context(), "dcn0"); err != nil {
		t.Fatal(err)
	}
	w.wantNoSite("dcn0")
	if n := len(w.records.Stores()); n != 2 {
		t.Fatalf("%d stores are left, want 2", n)
	}
}

// An agent that connects, or is there, at the moment of the delete leaves no store behind.
func TestStoresOfADeletedSite(t *testing.T) {
	t.Parallel()
	for name, call := range map[string]func(w *world) error{
		"connecting": func(w *world) error { _, err := w.OpenSession(w.t.Context(), "dcn0", "v1"); return err },
		"leaving":    func(w *world) error { return w.SawSite(w.t.Context(), "dcn0") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if err := w.DeleteSite(t.Context(), "dcn0"); err != nil {
				t.Fatal(err)
			}
			w.register("dcn0")
			wantFault(t, call(w), fault.NotFound, "SITE_NOT_FOUND")
			w.wantNoSite("dcn0")
			if s, _ := w.records.Store("dcn1"); s == nil {
				t.Fatal("a store of another site is gone")
			}
		})
	}
}
