package etcdstore

import (
	"context"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// follower remembers who a store says leads.
type follower struct {
	mu   sync.Mutex
	last Leader
	told int
}

func (f *follower) tell(l Leader) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last, f.told = l, f.told+1
}

func (f *follower) is(hub, note string) func() bool {
	return func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.told > 0 && f.last.Hub == hub && f.last.Note == note
	}
}

func follow(t *testing.T, s *Store) *follower {
	t.Helper()
	f := &follower{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.WatchLeader(ctx, f.tell) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return f
}

func TestOtherHubsLearnWhoLeads(t *testing.T) {
	a, b, c := open(t, config(t, "a")), open(t, config(t, "b")), open(t, config(t, "c"))
	f := follow(t, c)
	eventually(t, f.is("", ""))
	if err := a.Publish(t.Context(), "too early"); fault.ReasonOf(err) != "NOT_LEADER" {
		t.Fatalf("a hub that never led publishes: %v", err)
	}
	campaign(t, a)
	eventually(t, f.is("a", ""))
	if err := a.Publish(t.Context(), "at a"); err != nil {
		t.Fatal(err)
	}
	eventually(t, f.is("a", "at a"))
	first := a.Term()
	done := behind(t.Context(), t, b, 2)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	eventually(t, f.is("b", ""))
	if err := b.Publish(t.Context(), "at b"); err != nil {
		t.Fatal(err)
	}
	eventually(t, f.is("b", "at b"))
	f.mu.Lock()
	told := f.last.Term
	f.mu.Unlock()
	if b.Term() <= first || told != b.Term() {
		t.Errorf("terms %d, then %d, told %d", first, b.Term(), told)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, f.is("", ""))
}

// A leader that has lost its place without knowing it does not say that it leads.
func TestPublishIsFenced(t *testing.T) {
	a, b := open(t, config(t, "a")), open(t, config(t, "b"))
	lost := campaign(t, a)
	zombie := &term{lease: a.term.Load().lease, key: a.term.Load().key, rev: a.term.Load().rev, lost: make(chan struct{})}
	if _, err := b.client.Revoke(t.Context(), zombie.lease); err != nil {
		t.Fatal(err)
	}
	wantLost(t, lost)
	a.term.Store(zombie)
	if err := a.Publish(t.Context(), "a zombie"); fault.ReasonOf(err) != "NOT_LEADER" {
		t.Fatalf("got %v", err)
	}
	wantLeader(t, b, "")
}

// A hub of an earlier version wrote its id alone.
func TestCandidatesOfEarlierVersions(t *testing.T) {
	s := open(t, config(t, "a"))
	lease, err := s.client.Grant(t.Context(), 60)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Put(t.Context(), s.keys.leader()+"x", "a", clientv3.WithLease(lease.ID)); err != nil {
		t.Fatal(err)
	}
	wantLeader(t, s, "a")
	campaign(t, s) // it is an earlier life of this hub
}

func TestHubsAgree(t *testing.T) {
	a, b := open(t, config(t, "a")), open(t, config(t, "b"))
	for _, c := range []struct {
		s                    *Store
		name, propose, agree string
	}{
		{a, "ca", "", ""},
		{a, "ca", "of a", "of a"},
		{b, "ca", "", "of a"},
		{b, "ca", "of b", "of a"},
		{b, "other", "of b", "of b"},
	} {
		if got, err := c.s.Agree(t.Context(), c.name, c.propose); err != nil || got != c.agree {
			t.Errorf("%s proposes %q: got %q, %v; want %q", c.s.hubID, c.propose, got, err, c.agree)
		}
	}
}
