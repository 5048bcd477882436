package catalogtest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// ready reports whether a subscription says that Take has something to return.
func ready(s catalog.Subscription) bool {
	select {
	case <-s.C():
		return true
	default:
		return false
	}
}

func checkSubscription(t *testing.T, r catalog.Records) {
	t.Helper()
	s := r.Subscribe()
	defer s.Close()
	for k, versions := range samples() {
		for _, v := range []func(){
			func() { put(t, r, k, versions[0]) },
			func() { put(t, r, k, versions[1]) },
			func() { put(t, r, k, nil) },
		} {
			v()
			if !ready(s) {
				t.Fatalf("%v: the change was not announced before the commit returned", k)
			}
			if keys, reset := s.Take(); reset || !slices.Equal(keys, []catalog.Key{k}) {
				t.Fatalf("%v: got %v, reset %t", k, keys, reset)
			}
		}
	}
	if keys, reset := s.Take(); reset || len(keys) != 0 {
		t.Fatalf("got %v, reset %t after everything was taken", keys, reset)
	}
}

func checkCoalescing(t *testing.T, r catalog.Records) {
	t.Helper()
	s := r.Subscribe()
	defer s.Close()
	for range 5 {
		for _, id := range []string{"a", "b"} {
			put(t, r, catalog.SiteKey(image.SiteID(id)), &storev1.Site{Id: id})
		}
	}
	if !ready(s) || ready(s) {
		t.Fatal("ten changes without a Take are one value in the channel")
	}
	keys, reset := s.Take()
	if reset || len(keys) != 2 || keys[0] == keys[1] {
		t.Fatalf("got %v, reset %t", keys, reset)
	}
}

func checkSubscriptionLife(t *testing.T, r catalog.Records) {
	t.Helper()
	put(t, r, catalog.SiteKey("a"), &storev1.Site{Id: "a"})
	first, second := r.Subscribe(), r.Subscribe()
	defer second.Close()
	if keys, reset := first.Take(); ready(first) || reset || len(keys) != 0 {
		t.Fatalf("a new subscription tells of the past: %v", keys)
	}
	first.Close()
	first.Close()
	put(t, r, catalog.SiteKey("b"), &storev1.Site{Id: "b"})
	if ready(first) {
		t.Fatal("a closed subscription goes on")
	}
	if keys, _ := second.Take(); !ready(second) || len(keys) != 1 {
		t.Fatalf("another subscription got %v", keys)
	}
}

// checkBusySubscriber follows many writers and must end up with the last value of each record.
func checkBusySubscriber(t *testing.T, r catalog.Records) {
	t.Helper()
	const writers, each = 4, 25
	s := r.Subscribe()
	defer s.Close()
	var wg sync.WaitGroup
	for w := range writers {
		id := fmt.Sprintf("site%d", w)
		wg.Go(func() {
			for n := range each {
				k := catalog.SiteKey(image.SiteID(id))
				v := &storev1.Site{Id: id, SessionEpoch: uint64(n + 1)}
				if err := r.Commit(t.Context(), catalog.Write{Key: k, Value: v, Revision: revision(r, k)}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	defer wg.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	for seen := map[string]uint64{}; ; {
		select {
		case <-s.C():
		case <-ctx.Done():
			t.Fatalf("changes were lost: %v", seen)
		}
		keys, reset := s.Take()
		if reset {
			t.Fatal("reset without a reason")
		}
		for _, k := range keys {
			site, _ := r.Site(image.SiteID(k.ID))
			seen[k.ID] = site.SessionEpoch
		}
		complete := len(seen) == writers
		for _, n := range seen {
			complete = complete && n == each
		}
		if complete {
			return
		}
	}
}

// deadline bounds the waits of the suite.
const deadline = time.Minute
