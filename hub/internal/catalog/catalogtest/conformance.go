package catalogtest

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// RunConformance checks an implementation of catalog.Records against the interface's promises. open returns an empty
// store and closes it with the test's cleanup; it is called once for each part of the suite.
func RunConformance(t *testing.T, open func(t *testing.T) catalog.Records) {
	t.Helper()
	parts := []struct {
		name string
		run  func(t *testing.T, r catalog.Records)
	}{
		{"each kind is created, changed and deleted", checkEachKind},
		{"a revision that is not current is refused", checkStaleRevision},
		{"a commit is applied as a whole or not at all", checkAllOrNothing},
		{"a nil value at revision 0 checks for absence", checkAbsence},
		{"a commit of too many writes is refused", checkTooManyWrites},
		{"records do not follow the caller's message", checkIsolation},
		{"lists are sorted", checkSorting},
		{"lists agree with a model", checkAgreesWithModel},
		{"one of many concurrent commits wins", checkRace},
		{"concurrent increments all count", checkIncrements},
		{"a subscription tells what changed", checkSubscription},
		{"a subscription keeps each key once", checkCoalescing},
		{"a subscription begins now and ends with close", checkSubscriptionLife},
		{"no change is lost by a busy subscriber", checkBusySubscriber},
	}
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) { p.run(t, open(t)) })
	}
}

// put commits one record and fails the test if that fails.
func put(t *testing.T, r catalog.Records, k catalog.Key, v proto.Message) {
	t.Helper()
	if err := r.Commit(t.Context(), catalog.Write{Key: k, Value: v, Revision: revision(r, k)}); err != nil {
		t.Fatalf("commit of %v: %v", k, err)
	}
}

// read returns a record by its key, nil when there is none.
func read(r catalog.Records, k catalog.Key) (proto.Message, int64) {
	switch k.Kind {
	case catalog.KindImage:
		return present(r.Image(image.ID(k.ID)))
	case catalog.KindReplica:
		return present(r.Replica(k.Image, k.Store))
	case catalog.KindOperation:
		return present(r.Operation(image.ID(k.ID)))
	case catalog.KindSite:
		return present(r.Site(image.SiteID(k.ID)))
	case catalog.KindStore:
		return present(r.Store(image.StoreID(k.ID)))
	case catalog.KindHub:
		return present(r.Hub())
	}
	panic(fmt.Sprintf("no kind %d", k.Kind))
}

func present[M interface {
	comparable
	proto.Message
}](m M, rev int64) (proto.Message, int64) {
	var none M
	if m == none {
		return nil, rev
	}
	return m, rev
}

func revision(r catalog.Records, k catalog.Key) int64 {
	_, rev := read(r, k)
	return rev
}

func wantConflict(t *testing.T, err error) {
	t.Helper()
	if !fault.Is(err, fault.Conflict) {
		t.Fatalf("got %v, want a conflict", err)
	}
}

// samples returns two versions of a record of each kind.
func samples() map[catalog.Key][2]proto.Message {
	id, other := image.NewID(), image.NewID()
	return map[catalog.Key][2]proto.Message{
		catalog.ImageKey(id): {
			&storev1.Image{Id: string(id), Name: "a", Properties: map[string]string{"x": "1", "y": "2"}},
			&storev1.Image{Id: string(id), Name: "b"},
		},
		catalog.ReplicaKey(id, "dcn0"): {
			&storev1.Replica{ImageId: string(id), StoreId: "dcn0", Generation: 1},
			&storev1.Replica{ImageId: string(id), StoreId: "dcn0", Generation: 2},
		},
		catalog.OperationKey(other): {
			&storev1.Operation{Id: string(other), ImageId: string(id), State: storev1.OperationState_OPERATION_STATE_RUNNING},
			&storev1.Operation{Id: string(other), ImageId: string(id), State: storev1.OperationState_OPERATION_STATE_FAILED},
		},
		catalog.SiteKey("edge"):  {&storev1.Site{Id: "edge"}, &storev1.Site{Id: "edge", SessionEpoch: 7}},
		catalog.StoreKey("dcn0"): {&storev1.Store{Id: "dcn0"}, &storev1.Store{Id: "dcn0", Pool: "images"}},
		catalog.HubKey():         {&storev1.Hub{}, &storev1.Hub{Limits: &storev1.HubLimits{Windows: []string{"w"}}}},
	}
}

func checkEachKind(t *testing.T, r catalog.Records) {
	t.Helper()
	for k, versions := range samples() {
		if m, rev := read(r, k); m != nil || rev != 0 {
			t.Fatalf("%v before it was created: %v at %d", k, m, rev)
		}
		last := int64(0)
		for _, want := range versions {
			put(t, r, k, want)
			got, rev := read(r, k)
			if !proto.Equal(got, want) {
				t.Fatalf("%v: got %v, want %v", k, got, want)
			}
			if rev <= last {
				t.Fatalf("%v: revision %d after %d", k, rev, last)
			}
			last = rev
		}
		put(t, r, k, nil)
		if m, rev := read(r, k); m != nil || rev != 0 {
			t.Fatalf("%v after it was deleted: %v at %d", k, m, rev)
		}
	}
}

func checkStaleRevision(t *testing.T, r catalog.Records) {
	t.Helper()
	k, v := catalog.SiteKey("a"), &storev1.Site{Id: "a"}
	put(t, r, k, v)
	first := revision(r, k)
	wantConflict(t, r.Commit(t.Context(), catalog.Write{Key: k, Value: v}))
	put(t, r, k, v) // writing the same value again is a change
	second := revision(r, k)
	if second == first {
		t.Fatal("the revision did not change")
	}
	wantConflict(t, r.Commit(t.Context(), catalog.Write{Key: k, Value: v, Revision: first}))
	wantConflict(t, r.Commit(t.Context(), catalog.Write{Key: k, Revision: first}))
	put(t, r, k, nil)
	wantConflict(t, r.Commit(t.Context(), catalog.Write{Key: k, Value: v, Revision: second}))
	wantConflict(t, r.Commit(t.Context(), catalog.Write{Key: k, Revision: second}))
	put(t, r, k, v)
	wantConflict(t, r.Commit(t.Context(), catalog.Write{Key: k, Value: v, Revision: second}))
}

func checkAllOrNothing(t *testing.T, r catalog.Records) {
	t.Helper()
	put(t, r, catalog.SiteKey("a"), &storev1.Site{Id: "a"})
	put(t, r, catalog.SiteKey("c"), &storev1.Site{Id: "c"})
	writes := []catalog.Write{
		{Key: catalog.SiteKey("a"), Value: &storev1.Site{Id: "a", SessionEpoch: 1}, Revision: revision(r, catalog.SiteKey("a"))},
		{Key: catalog.SiteKey("b"), Value: &storev1.Site{Id: "b"}},
		{Key: catalog.SiteKey("c"), Revision: revision(r, catalog.SiteKey("c")) + 1},
	}
	wantConflict(t, r.Commit(t.Context(), writes...))
	if s, _ := r.Site("a"); s.SessionEpoch != 0 || len(r.Sites()) != 2 {
		t.Fatalf("part of a refused commit was applied: %v", r.Sites())
	}
	writes[2].Revision--
	if err := r.Commit(t.Context(), writes...); err != nil {
		t.Fatal(err)
	}
	if s, rev := r.Site("a"); s.SessionEpoch != 1 || rev != revision(r, catalog.SiteKey("b")) || len(r.Sites()) != 2 {
		t.Fatalf("a commit was not applied as a whole: %v", r.Sites())
	}
	if err := r.Commit(t.Context()); err != nil {
		t.Fatalf("an empty commit: %v", err)
	}
}

func checkAbsence(t *testing.T, r catalog.Records) {
	t.Helper()
	check := catalog.Write{Key: catalog.SiteKey("a")}
	if err := r.Commit(t.Context(), check); err != nil {
		t.Fatal(err)
	}
	put(t, r, check.Key, &storev1.Site{Id: "a"})
	wantConflict(t, r.Commit(t.Context(), check, catalog.Write{Key: catalog.SiteKey("b"), Value: &storev1.Site{Id: "b"}}))
	if len(r.Sites()) != 1 {
		t.Fatalf("got %v", r.Sites())
	}
}

func checkTooManyWrites(t *testing.T, r catalog.Records) {
	t.Helper()
	var writes []catalog.Write
	for i := range catalog.MaxWrites + 1 {
		id := fmt.Sprintf("site%d", i)
		writes = append(writes, catalog.Write{Key: catalog.SiteKey(image.SiteID(id)), Value: &storev1.Site{Id: id}})
	}
	if err := r.Commit(t.Context(), writes...); !fault.Is(err, fault.Invalid) || len(r.Sites()) != 0 {
		t.Fatalf("got %v and %d sites", err, len(r.Sites()))
	}
	if err := r.Commit(t.Context(), writes[1:]...); err != nil || len(r.Sites()) != catalog.MaxWrites {
		t.Fatalf("got %v and %d sites", err, len(r.Sites()))
	}
}

func checkIsolation(t *testing.T, r catalog.Records) {
	t.Helper()
	site := &storev1.Site{Id: "a", Description: "as committed"}
	put(t, r, catalog.SiteKey("a"), site)
	put(t, r, catalog.SiteKey("b"), &storev1.Site{Id: "b"})
	site.Description = "changed afterwards"
	if got, _ := r.Site("a"); got.Description != "as committed" {
		t.Fatalf("the record follows the caller's message: %q", got.Description)
	}
	list := r.Sites()
	slices.Reverse(list)
	if r.Sites()[0].Id != "a" {
		t.Fatal("the caller's slice is shared")
	}
}

func checkRace(t *testing.T, r catalog.Records) {
	t.Helper()
	const rounds, racers = 10, 8
	k := catalog.SiteKey("a")
	for round := range rounds {
		rev := revision(r, k)
		errs := make([]error, racers)
		var wg sync.WaitGroup
		for i := range racers {
			wg.Go(func() {
				v := &storev1.Site{Id: "a", SessionEpoch: uint64(round), Description: "same for all"}
				errs[i] = r.Commit(t.Context(), catalog.Write{Key: k, Value: v, Revision: rev})
				if revision(r, k) == rev {
					t.Errorf("the reader does not show the winner yet after %v", errs[i])
				}
			})
		}
		wg.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else if !fault.Is(err, fault.Conflict) {
				t.Fatal(err)
			}
		}
		if won != 1 {
			t.Fatalf("round %d: %d commits of one revision won: %v", round, won, errs)
		}
	}
}

func checkIncrements(t *testing.T, r catalog.Records) {
	t.Helper()
	const racers, each = 6, 10
	k := catalog.SiteKey("a")
	put(t, r, k, &storev1.Site{Id: "a"})
	var wg sync.WaitGroup
	for range racers {
		wg.Go(func() {
			for done := 0; done < each; {
				s, rev := r.Site("a")
				next := proto.CloneOf(s)
				next.SessionEpoch++
				err := r.Commit(t.Context(), catalog.Write{Key: k, Value: next, Revision: rev})
				switch {
				case err == nil:
					done++
				case !fault.Is(err, fault.Conflict):
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if s, _ := r.Site("a"); s.SessionEpoch != racers*each {
		t.Fatalf("got %d, want %d", s.SessionEpoch, racers*each)
	}
}

func at(seconds int64) *timestamppb.Timestamp { return &timestamppb.Timestamp{Seconds: seconds} }
