package catalog_test

import (
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

func TestSites(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.CreateSite(t.Context(), "dcn0", "")
	wantFault(t, err, fault.Exists, "SITE_EXISTS")
	long := strings.Repeat("d", 256)
	_, err = w.CreateSite(t.Context(), "dcn2", long)
	wantField(t, err, "site.description")
	wantField(t, w.DescribeSite(t.Context(), "dcn0", long), "site.description")
	wantFault(t, w.DescribeSite(t.Context(), "dcn2", ""), fault.NotFound, "SITE_NOT_FOUND")
	if err := w.DescribeSite(t.Context(), "dcn0", "edge"); err != nil {
		t.Fatal(err)
	}
	for want := uint64(1); want <= 3; want++ {
		if epoch, err := w.OpenSession(t.Context(), "dcn0", "v1"); err != nil || epoch != want {
			t.Fatalf("epoch %d, %v, want %d", epoch, err, want)
		}
	}
	if s, _ := w.records.Site("dcn0"); s.Description != "edge" || s.AgentVersion != "v1" || !s.LastSeenTime.AsTime().Equal(w.now) {
		t.Fatalf("got %v", s)
	}
}

// Two connections at the same moment get different epochs.
func TestOpenSessionRace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var other uint64
	w.records.RaceNext(func() {
		var err error
		if other, err = w.OpenSession(t.Context(), "dcn0", "v1"); err != nil {
			t.Error(err)
		}
	})
	epoch, err := w.OpenSession(t.Context(), "dcn0", "v1")
	if err != nil || epoch <= other || other == 0 {
		t.Fatalf("epochs %d and %d, %v", other, epoch, err)
	}
}

func TestDeleteSite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.active(phases{"dcn0": deleting})
	wantFault(t, w.DeleteSite(t.Context(), "dcn0"), fault.Precondition, "SITE_IN_USE")
	_, rev := w.records.Replica(id, "dcn0")
	if err := w.records.Commit(t.Context(), catalog.Write{Key: catalog.ReplicaKey(id, "dcn0"), Revision: rev}); err != nil {
		t.Fatal(err)
	}
	if err := w.DeleteSite(t.Context(), "dcn0"); err != nil {
		t.Fatal(err)
	}
	if s, _ := w.records.Store("dcn0"); s != nil {
		t.Fatal("the store outlives its site")
	}
	if s, _ := w.records.Store("dcn1"); s == nil {
		t.Fatal("a store of another site is gone")
	}
	wantFault(t, w.DeleteSite(t.Context(), "dcn0"), fault.NotFound, "SITE_NOT_FOUND")
}

func TestRegisterStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.records.Commits()
	w.register("dcn0")
	if w.records.Commits() != before {
		t.Fatal("an unchanged store is written again")
	}
	err := w.RegisterStore(t.Context(), "dcn1", &agentv1.StoreStatus{StoreId: "dcn0"})
	wantFault(t, err, fault.Exists, "STORE_TAKEN")
	wantField(t, w.RegisterStore(t.Context(), "dcn0", &agentv1.StoreStatus{StoreId: "a/b"}), "store id")
	// A cluster that has not answered yet keeps the id it had.
	if err := w.RegisterStore(t.Context(), "dcn0", &agentv1.StoreStatus{StoreId: "dcn0", Driver: "ceph", Pool: "other"}); err != nil {
		t.Fatal(err)
	}
	if s, _ := w.records.Store("dcn0"); s.Fsid != "fsid-dcn0" || s.Pool != "other" || s.SiteId != "dcn0" {
		t.Fatalf("got %v", s)
	}
}
