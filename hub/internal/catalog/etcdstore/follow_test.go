package etcdstore

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// deaf returns a store that follows through a proxy while it writes directly, and an undisturbed one.
func deaf(t *testing.T, adjust func(*timing)) (follower, steady *Store, p *proxy) {
	t.Helper()
	p = newProxy(t)
	c := config(t, "follower")
	if adjust != nil {
		adjust(&c.timing)
	}
	c.Endpoints = p.endpoints()
	s, err := newStore(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.client.Close(); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	c.Endpoints = endpoints
	if s.client, err = newClient(c); err != nil {
		t.Fatal(err)
	}
	if err := s.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	closeAfter(t, s)
	return s, open(t, config(t, "steady")), p
}

// listed returns how often all records were listed for a reason.
func listed(t *testing.T, s *Store, reason string) float64 {
	t.Helper()
	return metric(t, s, "atoll_catalog_lists_total", reason)
}

// metric returns the value of a counter or gauge; label is the value of its only label, "" when it has none.
func metric(t *testing.T, s *Store, name, label string) float64 {
	t.Helper()
	registry, ok := s.metrics.registry.(*prometheus.Registry)
	if !ok {
		t.Fatal("the store has no registry")
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if label == "" || m.GetLabel()[0].GetValue() == label {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return 0
}

func TestCompactionDuringADisconnectedWatch(t *testing.T) {
	s, steady, p := deaf(t, nil)
	for _, id := range []string{"stays", "changes", "goes"} {
		commit(t, steady, siteWrite(steady, id, "before"))
	}
	catchUp(t, s, steady)
	sub := s.Subscribe()
	defer sub.Close()
	p.refuse(true)

	commit(t, steady, siteWrite(steady, "changes", "after"))
	gone := siteWrite(steady, "goes", "")
	gone.Value = nil
	commit(t, steady, gone)
	commit(t, steady, siteWrite(steady, "comes", "after"))
	if _, err := steady.client.Compact(t.Context(), steady.cache.rev); err != nil {
		t.Fatal(err)
	}
	if site, _ := s.Site("changes"); site.Description != "before" {
		t.Fatal("the store was not disconnected")
	}
	p.refuse(false)
	catchUp(t, s, steady)

	if got, want := ids(s), ids(steady); !slices.Equal(got, want) || len(got) != 3 {
		t.Fatalf("got %v, want %v", got, want)
	}
	if site, _ := s.Site("changes"); site.Description != "after" {
		t.Fatalf("got %v", site)
	}
	if n := listed(t, s, listCompacted); n != 1 {
		t.Fatalf("%g lists after a compaction", n)
	}
	<-sub.C()
	if keys, reset := sub.Take(); !reset || len(keys) != 0 {
		t.Fatalf("got %v, reset %t", keys, reset)
	}
	commit(t, s, siteWrite(s, "changes", "again"))
	if keys, reset := sub.Take(); reset || !slices.Equal(keys, []catalog.Key{catalog.SiteKey("changes")}) {
		t.Fatalf("after the reset: %v, reset %t", keys, reset)
	}
}

func ids(s *Store) []string {
	var out []string
	for _, site := range s.Sites() {
		out = append(out, site.Id)
	}
	return out
}

func TestDisconnectedWatchResumes(t *testing.T) {
	s, steady, p := deaf(t, nil)
	sub := s.Subscribe()
	defer sub.Close()
	for i := range 5 {
		p.refuse(true)
		commit(t, steady, siteWrite(steady, "a", string(rune('0'+i))))
		p.refuse(false)
		catchUp(t, s, steady)
		if keys, reset := sub.Take(); reset || len(keys) != 1 {
			t.Fatalf("got %v, reset %t", keys, reset)
		}
	}
	if n := listed(t, s, listStart); n != 1 {
		t.Fatalf("%g first lists", n)
	}
}

// hears returns a function that tells whether the log of a store has said something for a reason since.
func hears(t *testing.T, s *Store, text, reason string) func() bool {
	t.Helper()
	log, ok := s.log.(hclog.InterceptLogger)
	if !ok {
		t.Fatal("nobody can listen to the log")
	}
	e := &ear{text: text, reason: reason}
	log.RegisterSink(e)
	t.Cleanup(func() { log.DeregisterSink(e) })
	return e.heard.Load
}

type ear struct {
	text, reason string
	heard        atomic.Bool
}

// Accept implements hclog.SinkAdapter.
func (e *ear) Accept(_ string, _ hclog.Level, text string, args ...any) {
	if text == e.text && slices.Contains(args, any(e.reason)) {
		e.heard.Store(true)
	}
}

func TestSilentWatchIsReplaced(t *testing.T) {
	s, steady, p := deaf(t, func(c *timing) { c.silence, c.request = 300*time.Millisecond, 200*time.Millisecond })
	p.freeze()
	gaveUp := hears(t, s, "listing the records failed", listSilence) // so the watch has been given up
	commit(t, steady, siteWrite(steady, "a", ""))
	eventually(t, func() bool { return gaveUp() && metric(t, s, "atoll_catalog_cache_age_seconds", "") > 0.5 })
	p.warm()
	p.cut()
	catchUp(t, s, steady)
	eventually(t, func() bool { return metric(t, s, "atoll_catalog_cache_age_seconds", "") < 0.3 })
	if n := listed(t, s, listSilence); n < 1 {
		t.Fatalf("%g lists after silence", n)
	}
}

func TestIdleWatchGivesSignsOfLife(t *testing.T) {
	s, _, _ := deaf(t, func(c *timing) { c.progress = 20 * time.Millisecond })
	signs, last := 0, s.metrics.seen.Load()
	eventually(t, func() bool {
		if seen := s.metrics.seen.Load(); seen != last {
			signs, last = signs+1, seen
		}
		return signs >= 50
	})
	if n := listed(t, s, listSilence); n != 0 {
		t.Fatalf("an idle watch was given up %g times", n)
	}
}

func TestRepairFindsWhatTheWatchMissed(t *testing.T) {
	c := config(t, "a")
	c.timing.relist = 200 * time.Millisecond
	s := open(t, c)
	commit(t, s, siteWrite(s, "kept", ""), siteWrite(s, "lost", ""))
	sub := s.Subscribe()
	defer sub.Close()
	s.cache.mu.Lock() // as if two events had never come
	s.cache.state.delete(catalog.SiteKey("lost"))
	s.cache.state.put(&record{key: catalog.SiteKey("ghost"), msg: &storev1.Site{Id: "ghost"}, rev: 1})
	s.cache.mu.Unlock()
	<-sub.C()
	if got := ids(s); !slices.Equal(got, []string{"kept", "lost"}) {
		t.Fatalf("got %v", got)
	}
	keys, reset := sub.Take()
	slices.SortFunc(keys, func(a, b catalog.Key) int { return len(b.ID) - len(a.ID) })
	if reset || !slices.Equal(keys, []catalog.Key{catalog.SiteKey("ghost"), catalog.SiteKey("lost")}) {
		t.Fatalf("got %v, reset %t", keys, reset)
	}
}

func TestUnreadableRecords(t *testing.T) {
	s := open(t, config(t, "a"))
	commit(t, s, siteWrite(s, "a", "good"))
	raw := func(key, value string) {
		t.Helper()
		if _, err := s.client.Put(t.Context(), s.keys.records()+key, value); err != nil {
			t.Fatal(err)
		}
	}
	raw("sites/a", "\xff\xff\xff")
	raw("futures/x", "of a newer version")
	raw("sites/deep/er", "of nobody")
	commit(t, s, siteWrite(s, "b", "later"))
	if site, _ := s.Site("a"); site.GetDescription() != "good" {
		t.Fatalf("the last readable state is gone: %v", site)
	}
	if got := ids(s); !slices.Equal(got, []string{"a", "b"}) {
		t.Fatalf("got %v", got)
	}
	if n := metric(t, s, "atoll_catalog_unreadable_records_total", ""); n != 1 {
		t.Fatalf("%g unreadable records", n)
	}
	c := config(t, "b")
	if other, err := Open(t.Context(), c); !fault.Is(err, fault.Internal) || fault.ReasonOf(err) != "RECORD_UNREADABLE" {
		t.Fatalf("got %v, %v", other, err)
	}
	if _, err := s.client.Delete(t.Context(), s.keys.records()+"sites/a"); err != nil {
		t.Fatal(err)
	}
	open(t, c)
}

func TestListOfManyPages(t *testing.T) {
	s := open(t, config(t, "a"))
	var want []string
	for from := 0; from <= 2*pageSize; from += catalog.MaxWrites {
		var writes []catalog.Write
		for i := from; i < from+catalog.MaxWrites; i++ {
			id := string([]byte{'s', byte('a' + i/676), byte('a' + i/26%26), byte('a' + i%26)})
			writes = append(writes, siteWrite(s, id, ""))
			want = append(want, id)
		}
		commit(t, s, writes...)
	}
	if got := ids(open(t, config(t, "b"))); !slices.Equal(got, want) {
		t.Fatalf("got %d records, want %d", len(got), len(want))
	}
}

func TestOverflowOfASubscription(t *testing.T) {
	s := open(t, config(t, "a"))
	sub, ok := s.Subscribe().(*subscription)
	if !ok {
		t.Fatal("another kind of subscription")
	}
	defer sub.Close()
	for i := range mostKeys + 2 {
		sub.add(catalog.Key{Kind: catalog.KindSite, ID: string(rune(i))})
	}
	if keys, reset := sub.Take(); !reset || len(keys) != 0 {
		t.Fatalf("%d keys, reset %t", len(keys), reset)
	}
	commit(t, s, siteWrite(s, "a", ""))
	if keys, reset := sub.Take(); reset || len(keys) != 1 {
		t.Fatalf("afterwards %v, reset %t", keys, reset)
	}
}

func TestOpenWithoutEtcd(t *testing.T) {
	c := config(t, "a")
	p := newProxy(t)
	p.refuse(true)
	c.Endpoints = p.endpoints()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := Open(ctx, c); !fault.Is(err, fault.Unavailable) {
		t.Fatalf("got %v", err)
	}
	p.refuse(false) // it is never too late
	s := open(t, c)
	if _, err := s.client.Get(t.Context(), "x", clientv3.WithCountOnly()); err != nil {
		t.Fatal(err)
	}
}
