package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/retry"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// pair returns a store whose writes pass a proxy, while its cache has a connection of its own, and an undisturbed one.
func pair(t *testing.T, adjust func(*timing)) (flaky, steady *Store, p *proxy) {
	t.Helper()
	p = newProxy(t)
	c := config(t, "flaky")
	c.timing.observe = 0 // its first look, however late, would be taken for what a test loses
	if adjust != nil {
		adjust(&c.timing)
	}
	flaky, err := newStore(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := flaky.client.Close(); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	c.Endpoints = p.endpoints()
	if flaky.client, err = newClient(c); err != nil {
		t.Fatal(err)
	}
	if err := flaky.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	closeAfter(t, flaky)
	steady = open(t, config(t, "steady"))
	eventually(t, func() bool { // connected, and nothing else is going to be asked
		flaky.size(t.Context())
		return flaky.metrics.database.Load() > 0
	})
	return flaky, steady, p
}

func commit(t *testing.T, s *Store, writes ...catalog.Write) {
	t.Helper()
	if err := s.Commit(t.Context(), writes...); err != nil {
		t.Fatal(err)
	}
}

// catchUp waits until the cache of s has what other has.
func catchUp(t *testing.T, s, other *Store) {
	t.Helper()
	other.cache.mu.RLock()
	rev := other.cache.rev
	other.cache.mu.RUnlock()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.cache.waitRevision(ctx, rev); err != nil {
		t.Fatal(err)
	}
}

func TestLostAnswer(t *testing.T) {
	tests := []struct {
		name      string
		meanwhile func(t *testing.T, steady *Store) // what others do before the loss is noticed
		want      fault.Class                       // -1: success
		describes string                            // of the record in the end, "" when it is gone
		lose      func(*proxy, func())
	}{
		{name: "answer lost", want: -1, describes: "flaky", lose: (*proxy).dropAnswer},
		{name: "request lost", want: -1, describes: "flaky", lose: (*proxy).dropRequest},
		{
			name: "answer lost and overwritten", want: -1, describes: "steady", lose: (*proxy).dropAnswer,
			meanwhile: overwrite,
		},
		{
			name: "answer lost and deleted: must not come back", want: -1, describes: "", lose: (*proxy).dropAnswer,
			meanwhile: func(t *testing.T, steady *Store) {
				t.Helper()
				waitFor(t, steady, func() bool { return steady.cache.state.all[siteA] != nil })
				w := siteWrite(steady, "a", "")
				w.Value = nil
				commit(t, steady, w)
			},
		},
		{
			name: "request lost and another was faster", want: fault.Conflict, describes: "steady", lose: (*proxy).dropRequest,
			meanwhile: overtake,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			flaky, steady, p := pair(t, nil)
			var called atomic.Bool
			tt.lose(p, func() {
				called.Store(true)
				if tt.meanwhile != nil {
					tt.meanwhile(t, steady)
				}
			})
			err := flaky.Commit(t.Context(), siteWrite(flaky, "a", "flaky"))
			if !called.Load() {
				t.Fatal("nothing was lost")
			}
			if tt.want < 0 && err != nil || tt.want >= 0 && !fault.Is(err, tt.want) {
				t.Fatalf("got %v", err)
			}
			catchUp(t, flaky, steady)
			site, _ := flaky.Site("a")
			if site.GetDescription() != tt.describes {
				t.Fatalf("got %v, want %q", site, tt.describes)
			}
			commit(t, flaky, siteWrite(flaky, "a", "again")) // the slot is in order
		})
	}
}

// siteOf returns the site that a record holds, nil if it holds another kind.
func siteOf(r *record) *storev1.Site {
	site, _ := r.msg.(*storev1.Site)
	return site
}

var siteA = catalog.SiteKey("a")

// overwrite waits for the site of the flaky store and overwrites it.
func overwrite(t *testing.T, steady *Store) {
	t.Helper()
	waitFor(t, steady, func() bool { return steady.cache.state.all[siteA] != nil })
	overtake(t, steady)
}

// overtake writes the site that the flaky store is about to write.
func overtake(t *testing.T, steady *Store) {
	t.Helper()
	commit(t, steady, siteWrite(steady, "a", "steady"))
}

// waitFor waits until the cache of s fulfils a condition; the condition runs with the cache's lock held.
func waitFor(t *testing.T, s *Store, cond func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.cache.wait(ctx, cond); err != nil {
		t.Fatal(err)
	}
}

func TestNoAnswerAtAll(t *testing.T) {
	flaky, steady, p := pair(t, func(c *timing) {
		c.request, c.commit, c.settle = 200*time.Millisecond, 500*time.Millisecond, 200*time.Millisecond
	})
	p.freeze()
	began := time.Now()
	err := flaky.Commit(t.Context(), siteWrite(flaky, "a", "flaky"))
	if !fault.Is(err, fault.Unavailable) || fault.ReasonOf(err) != "OUTCOME_UNKNOWN" {
		t.Fatalf("got %v", err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Fatalf("gave up after %s", took)
	}
	p.warm()
	p.cut()
	for deadline := time.Now().Add(time.Minute); ; { // whatever became of the first one
		err := flaky.Commit(t.Context(), siteWrite(flaky, "a", "second"))
		if err == nil {
			break
		}
		if !fault.Retryable(err) || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	catchUp(t, steady, flaky)
	if site, _ := steady.Site("a"); site.GetDescription() != "second" {
		t.Fatalf("got %v", site)
	}
}

// TestCancelledCommit cancels commits at random moments while requests are held back. What a commit says must be true:
// an error other than "unknown" promises that the record will never appear.
func TestCancelledCommit(t *testing.T) {
	flaky, steady, p := pair(t, nil)
	outcomes := map[string]int{}
	for i := range 30 {
		id := fmt.Sprintf("s%d", i)
		ctx, cancel := context.WithCancelCause(t.Context())
		p.freeze()
		var wg sync.WaitGroup
		wg.Go(func() {
			_ = retry.Sleep(t.Context(), rand.N(3*time.Millisecond)) // spreads the moments; nothing waits for it
			cancel(nil)
			_ = retry.Sleep(t.Context(), rand.N(3*time.Millisecond))
			p.warm()
		})
		err := flaky.Commit(ctx, siteWrite(flaky, id, "flaky"))
		wg.Wait()
		commit(t, steady, siteWrite(steady, fmt.Sprintf("mark%d", i), "")) // later than anything held back
		got := steady.cache.record(catalog.Key{Kind: catalog.KindSite, ID: id}) != nil
		outcomes[result(err)]++
		switch {
		case err == nil && !got, fault.Is(err, fault.Cancelled) && got:
			t.Fatalf("commit %d: %v, but record there: %t", i, err, got)
		case err != nil && !fault.Is(err, fault.Cancelled):
			t.Fatalf("commit %d: %v", i, err)
		}
	}
	t.Log(outcomes)
}

// TestFaultyNetwork counts with many writers while answers, requests and connections get lost at random: a count that
// was reported as done is there exactly once, one that was reported as failed is not there.
func TestFaultyNetwork(t *testing.T) {
	flaky, _, p := pair(t, func(c *timing) { c.request = 200 * time.Millisecond })
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var (
		chaos   = rand.New(rand.NewPCG(seed, 0))
		writers sync.WaitGroup
		vandal  sync.WaitGroup
		stop    = make(chan struct{})
		losses  atomic.Int64
		counted = map[string]*[2]int{} // done, unknown
	)
	vandal.Go(func() {
		for {
			wait := time.Duration(20+chaos.IntN(60)) * time.Millisecond
			lost := func() { losses.Add(1) }
			switch chaos.IntN(4) {
			case 0:
				p.dropAnswer(lost)
			case 1:
				p.dropRequest(lost)
			case 2:
				p.cut()
			case 3:
				p.freeze()
			}
			select {
			case <-stop:
				p.warm()
				return
			case <-time.After(wait):
				p.warm()
			}
		}
	})
	for w := range 4 {
		id := fmt.Sprintf("s%d", w%2) // two writers on each record
		n := &[2]int{}
		counted[fmt.Sprintf("%d", w)] = n
		writers.Go(func() {
			for losses.Load() < 20 && !t.Failed() {
				k := catalog.Key{Kind: catalog.KindSite, ID: id}
				next, rev := &storev1.Site{Id: id}, int64(0)
				if r := flaky.cache.record(k); r != nil {
					next, rev = proto.CloneOf(siteOf(r)), r.rev
				}
				next.SessionEpoch++
				switch err := flaky.Commit(t.Context(), catalog.Write{Key: k, Value: next, Revision: rev}); {
				case err == nil:
					n[0]++
				case fault.ReasonOf(err) == "OUTCOME_UNKNOWN":
					n[1]++
				case !fault.Is(err, fault.Conflict):
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	vandal.Wait()
	for w := range 2 {
		site, _ := flaky.Site(image.SiteID(fmt.Sprintf("s%d", w)))
		a, b := counted[fmt.Sprintf("%d", w)], counted[fmt.Sprintf("%d", w+2)]
		done, unknown := a[0]+b[0], a[1]+b[1]
		t.Logf("record %d: %d counted, %d done, %d unknown, %d losses", w, site.SessionEpoch, done, unknown, losses.Load())
		if n := int(site.SessionEpoch); n < done || n > done+unknown {
			t.Errorf("record %d counts %d; %d commits were done and %d unknown", w, n, done, unknown)
		}
	}
}
