package etcdstore

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

func campaign(t *testing.T, s *Store) (lost <-chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	lost, err := s.Campaign(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return lost
}

func wantLost(t *testing.T, lost <-chan struct{}) {
	t.Helper()
	select {
	case <-lost:
	case <-time.After(time.Minute):
		t.Fatal("the loss was not noticed")
	}
}

func wantNotLeader(t *testing.T, err error) {
	t.Helper()
	if !fault.Is(err, fault.Conflict) || fault.ReasonOf(err) != "NOT_LEADER" {
		t.Fatalf("got %v, want NOT_LEADER", err)
	}
}

func wantLeader(t *testing.T, s *Store, want string) {
	t.Helper()
	if got, err := s.Leader(t.Context()); err != nil || got != want {
		t.Fatalf("leader %q, %v; want %q", got, err, want)
	}
}

// behind starts a campaign and returns once it waits behind the present leader.
func behind(ctx context.Context, t *testing.T, s *Store, candidates int64) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := s.Campaign(ctx)
		done <- err
	}()
	eventually(t, func() bool { return candidatesOf(t, s) == candidates })
	return done
}

func candidatesOf(t *testing.T, s *Store) int64 {
	t.Helper()
	r, err := s.client.Get(t.Context(), s.keys.leader(), clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	return r.Count
}

func TestLeadPassesOnWhenTheLeaderCloses(t *testing.T) {
	a, b := open(t, config(t, "a")), open(t, config(t, "b"))
	wantLeader(t, a, "")
	lost := campaign(t, a)
	if _, err := a.Campaign(t.Context()); !fault.Is(err, fault.Internal) {
		t.Fatalf("a second campaign of the leader: %v", err)
	}
	commit(t, a, siteWrite(a, "x", "by the leader"))
	commit(t, b, siteWrite(b, "y", "by a hub that never led"))
	done := behind(t.Context(), t, b, 2)
	wantLeader(t, b, "a")
	select {
	case <-lost:
		t.Fatal("lost for no reason")
	case err := <-done:
		t.Fatalf("two leaders: %v", err)
	default:
	}
	began := time.Now()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	wantLost(t, lost)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > quick.lease/2 {
		t.Errorf("taking over from a hub that closed took %s", took)
	}
	wantLeader(t, b, "b")
}

// A hub that follows slowly must not lead before it has seen the last word of the leader before it.
func TestNewLeaderHasSeenWhatTheOldOneWrote(t *testing.T) {
	a, b := open(t, config(t, "a")), open(t, config(t, "b"))
	campaign(t, a)
	done := behind(t.Context(), t, b, 2)
	b.cache.mu.Lock()
	held := true
	defer func() {
		if held {
			b.cache.mu.Unlock()
		}
	}()
	commit(t, a, siteWrite(a, "x", "the last word"))
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { // it has won, and says so
		r, err := b.client.Get(t.Context(), b.keys.leader(), clientv3.WithPrefix())
		return err == nil && len(r.Kvs) == 1 && r.Kvs[0].ModRevision > r.Kvs[0].CreateRevision
	})
	select {
	case err := <-done:
		t.Fatalf("it leads without having seen the last word: %v", err)
	case <-time.After(2 * quick.renew):
	}
	held = false
	b.cache.mu.Unlock()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if s, _ := b.Site("x"); s.GetDescription() != "the last word" {
		t.Fatalf("the new leader sees %v", s)
	}
}

func TestRevokedLeaderIsFenced(t *testing.T) {
	a, b := open(t, config(t, "a")), open(t, config(t, "b"))
	lost := campaign(t, a)
	old := a.term.Load()
	done := behind(t.Context(), t, b, 2)
	if _, err := b.client.Revoke(t.Context(), old.lease); err != nil {
		t.Fatal(err)
	}
	wantLost(t, lost)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	wantNotLeader(t, a.Commit(t.Context(), siteWrite(a, "x", "after the loss")))

	// The hub was paused the whole time and knows of nothing.
	paused := &term{lease: old.lease, key: old.key, rev: old.rev, lost: make(chan struct{})}
	a.term.Store(paused)
	wantNotLeader(t, a.Commit(t.Context(), siteWrite(a, "x", "by a zombie")))
	wantLost(t, paused.lost)
	if s, _ := b.Site("x"); s != nil {
		t.Fatalf("a zombie wrote %v", s)
	}
	commit(t, b, siteWrite(b, "x", "by the new leader"))

	// It may come back by the front door.
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	campaign(t, a)
	catchUp(t, a, b)
	commit(t, a, siteWrite(a, "x", "leader again"))
}

func TestKilledHubLeadsAgainAtOnce(t *testing.T) {
	c := config(t, "a")
	c.timing.lease = time.Hour
	first := open(t, c)
	lost := campaign(t, first)
	first.stop() // a kill: nothing is given back
	wantLost(t, lost)
	c.Registry = nil
	second := open(t, c)
	wantLeader(t, second, "a")
	campaign(t, second)
	if n := candidatesOf(t, second); n != 1 {
		t.Fatalf("%d candidates; the earlier life is still one", n)
	}
	commit(t, second, siteWrite(second, "x", "in the second life"))
}

func TestLeaseOfAKilledHubRunsOut(t *testing.T) {
	c := config(t, "a")
	c.timing.lease = time.Second // etcd makes it two
	first := open(t, c)
	campaign(t, first)
	first.stop()
	second := open(t, config(t, "b"))
	campaign(t, second)
	wantLeader(t, second, "b")
}

func TestCancelledCampaignLeavesNothing(t *testing.T) {
	a, b := open(t, config(t, "a")), open(t, config(t, "b"))
	campaign(t, a)
	ctx, cancel := context.WithCancel(t.Context())
	done := behind(ctx, t, b, 2)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if n := candidatesOf(t, a); n != 1 {
		t.Fatalf("%d candidates", n)
	}
	done = behind(t.Context(), t, b, 2)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !fault.Is(err, fault.Unavailable) {
		t.Fatalf("the campaign of a closed store: %v", err)
	}
	if n := candidatesOf(t, a); n != 1 {
		t.Fatalf("%d candidates", n)
	}
}

func TestCandidateThatLosesItsLeaseQueuesAgain(t *testing.T) {
	a, b := open(t, config(t, "a")), open(t, config(t, "b"))
	campaign(t, a)
	done := behind(t.Context(), t, b, 2)
	r, err := a.client.Get(t.Context(), a.keys.leader(), clientv3.WithLastCreate()...)
	if err != nil {
		t.Fatal(err)
	}
	lease := clientv3.LeaseID(r.Kvs[0].Lease)
	if _, err := a.client.Revoke(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		r, err := a.client.Get(t.Context(), a.keys.leader(), clientv3.WithLastCreate()...)
		return err == nil && r.Count == 2 && clientv3.LeaseID(r.Kvs[0].Lease) != lease
	})
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestLeaderWithoutRenewalFencesItself(t *testing.T) {
	flaky, steady, p := pair(t, func(c *timing) { c.lease, c.fence, c.renew = time.Hour, 2*time.Second, 50*time.Millisecond })
	lost := campaign(t, flaky)
	p.freeze()
	wantLost(t, lost)
	wantLeader(t, steady, "flaky") // the lease still runs
	p.warm()
	wantNotLeader(t, flaky.Commit(t.Context(), siteWrite(flaky, "x", "")))
	eventually(t, func() bool { // a machine that stands still for longer than the fence costs it the lead again
		campaign(t, flaky)
		err := flaky.Commit(t.Context(), siteWrite(flaky, "x", ""))
		if err != nil {
			wantNotLeader(t, err)
		}
		return err == nil
	})
}

func TestLeaderSurvivesAShortInterruption(t *testing.T) {
	flaky, _, p := pair(t, func(c *timing) { c.lease, c.fence, c.renew = time.Hour, time.Minute, 20*time.Millisecond })
	lost := campaign(t, flaky)
	var broken atomic.Int32
	for range 3 {
		p.dropAnswer(func() { broken.Add(1) })
	}
	eventually(t, func() bool { return broken.Load() == 3 })
	commit(t, flaky, siteWrite(flaky, "x", "still there"))
	select {
	case <-lost:
		t.Fatal("the lead was lost over a short interruption")
	default:
	}
}

func TestReceiptsAreCleared(t *testing.T) {
	c := config(t, "a")
	first, other := open(t, c), open(t, config(t, "b"))
	commit(t, first, siteWrite(first, "x", ""))
	commit(t, other, siteWrite(other, "y", ""))
	if n := receipts(t, other); n["a"] != 1 || n["b"] != 1 {
		t.Fatalf("got %v", n)
	}
	first.stop() // a kill
	c.Registry = nil
	second := open(t, c)
	if n := receipts(t, other); n["a"] != 0 || n["b"] != 1 {
		t.Fatalf("after a restart: %v", n)
	}
	commit(t, second, siteWrite(second, "z", ""))

	// Receipts that somebody removed do no harm.
	if _, err := other.client.Delete(t.Context(), other.keys.commits(), clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	for range mostCommits + 1 {
		commit(t, second, siteWrite(second, "z", ""))
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	if n := receipts(t, other); n["a"] != 0 {
		t.Fatalf("after closing: %v", n)
	}
}

// receipts counts the receipts of each hub.
func receipts(t *testing.T, s *Store) map[string]int {
	t.Helper()
	r, err := s.client.Get(t.Context(), s.keys.commits(), clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	n := map[string]int{}
	for _, kv := range r.Kvs {
		hub, _, _ := strings.Cut(strings.TrimPrefix(string(kv.Key), s.keys.commits()), "/")
		n[hub]++
	}
	return n
}
