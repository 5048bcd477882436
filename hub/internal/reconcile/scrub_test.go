package reconcile

import (
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

const day = 24 * time.Hour

// provenAt returns an image and a published copy of it in dcn0.
func provenAt(name string, at time.Time) (*storev1.Replica, *storev1.Image) {
	r := &storev1.Replica{
		ImageId: name, StoreId: "dcn0", SiteId: "dcn0", Phase: phaseActive, ContentId: contentID,
		PhaseTime: catalog.Stamp(at.Add(-day)), VerifyTime: catalog.Stamp(at),
	}
	return r, &storev1.Image{Id: name, Content: &storev1.Content{Id: contentID, Complete: true, ManifestDigest: []byte{1}}}
}

func TestScrubPlan(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := DefaultSettings()
	for name, c := range map[string]struct {
		change func(r *storev1.Replica, img *storev1.Image)
		usable bool
		begins bool
	}{
		"old":             {nil, true, true},
		"site away":       {nil, false, false},
		"recent":          {func(r *storev1.Replica, _ *storev1.Image) { r.VerifyTime = catalog.Stamp(now.Add(-5 * day)) }, true, false},
		"never proven":    {func(r *storev1.Replica, _ *storev1.Image) { r.VerifyTime = nil }, true, true},
		"under way":       {func(r *storev1.Replica, _ *storev1.Image) { r.VerifyGeneration = 1 }, true, false},
		"answered":        {func(r *storev1.Replica, _ *storev1.Image) { r.VerifyGeneration, r.VerifiedGeneration = 4, 4 }, true, true},
		"failed a bit":    {func(r *storev1.Replica, _ *storev1.Image) { r.NextVerifyTime = catalog.Stamp(now.Add(time.Second)) }, true, false},
		"failed before":   {func(r *storev1.Replica, _ *storev1.Image) { r.NextVerifyTime = catalog.Stamp(now) }, true, true},
		"being written":   {func(r *storev1.Replica, _ *storev1.Image) { r.Phase = phaseTransferring }, true, false},
		"in quarantine":   {func(r *storev1.Replica, _ *storev1.Image) { r.Phase, r.Reason = phaseFailed, catalog.ReasonDamaged }, true, false},
		"going":           {func(r *storev1.Replica, _ *storev1.Image) { r.Removal = storev1.Removal_REMOVAL_CHECKING }, true, false},
		"being adopted":   {func(_ *storev1.Replica, img *storev1.Image) { img.Content.Complete = false }, true, false},
		"another content": {func(r *storev1.Replica, _ *storev1.Image) { r.ContentId = "another" }, true, false},
	} {
		var tally siteTally
		r, img := provenAt("a", now.Add(-8*day))
		if c.change != nil {
			c.change(r, img)
		}
		tally.add(r, img, c.usable)
		begin, next := tally.plan(s, now)
		if (len(begin) == 1) != c.begins || c.begins && !next.Equal(now) {
			t.Errorf("%s: begins %v, next %s", name, begin, next)
		}
		s := s
		s.ScrubPeriod = 0
		if begin, next := tally.plan(s, now); len(begin) > 0 || !next.IsZero() {
			t.Errorf("%s: begins although it is off", name)
		}
	}
}

// Copies that were proven together are not all due together, never after the period, and always at the same moment.
func TestScrubsAreSpread(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	early := 0
	for i := range 1000 {
		r, _ := provenAt(fmt.Sprint(i), now)
		due := scrubDue(r, 8*day)
		if due.Before(now.Add(6*day)) || due.After(now.Add(8*day)) || !due.Equal(scrubDue(r, 8*day)) {
			t.Fatalf("due at %s", due)
		}
		if due.Before(now.Add(7 * day)) {
			early++
		}
	}
	if early < 400 || early > 600 {
		t.Errorf("%d of 1000 are due in the first half", early)
	}
}

func TestScrubsOldestFirst(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := DefaultSettings()
	s.ScrubParallel = 2
	var tally siteTally
	for i, age := range []time.Duration{8 * day, 30 * day, 9 * day, 20 * day} {
		r, img := provenAt(fmt.Sprint(i), now.Add(-age))
		tally.add(r, img, true)
	}
	if begin, _ := tally.plan(s, now); len(begin) != 2 || begin[0].ImageId != "1" || begin[1].ImageId != "3" {
		t.Errorf("got %v", begin)
	}
	if !tally.oldest.Equal(now.Add(-30 * day)) {
		t.Errorf("oldest proof: %s", tally.oldest)
	}
	r, img := provenAt("asked for by a user", now)
	r.VerifyGeneration = 1
	tally.add(r, img, true)
	if begin, _ := tally.plan(s, now); len(begin) != 1 || begin[0].ImageId != "1" {
		t.Errorf("beside one that runs: %v", begin)
	}
	tally.add(r, img, true)
	tally.add(r, img, true)
	if begin, _ := tally.plan(s, now); len(begin) != 0 {
		t.Errorf("beside three that run: %v", begin)
	}
}

// A real hub: each copy is proven within the period, one at a time, and a verification that a user asks for meanwhile is
// answered by one that begins after it.
func TestScrubs(t *testing.T) {
	t.Parallel()
	s := newSim(t)
	for range 3 {
		id := s.createImage(t)
		op, err := s.upload(id, catalog.Target{Stores: []string{"dcn0"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.arrive(op); err != nil {
			t.Fatal(err)
		}
		s.settle()
	}
	first := s.now
	s.scrubs.look(t.Context())
	if n := s.asked("dcn0"); n != 0 {
		t.Fatalf("%d copies are verified at once", n)
	}
	s.now = s.now.Add(s.loop.Settings.ScrubPeriod)
	s.scrubs.look(t.Context())
	s.scrubs.looks = nil
	s.restart()
	s.scrubs.look(t.Context())
	if n := s.asked("dcn0"); n != 1 {
		t.Fatalf("%d copies are verified at once", n)
	}
	for _, id := range s.images {
		if r, _ := s.records.Replica(id, "dcn0"); verifying(r) {
			op, err := s.catalog.VerifyReplica(t.Context(), id, "dcn0")
			if err != nil || op.VerifyGeneration != 2 {
				t.Fatalf("got %v, %v", op, err)
			}
		}
	}
	for range 3 {
		s.settle()
		s.now = s.now.Add(time.Hour)
		s.scrubs.look(t.Context())
	}
	s.settle()
	for _, id := range s.images {
		if r, _ := s.records.Replica(id, "dcn0"); !proven(r).After(first) || r.Phase != phaseActive {
			t.Errorf("not proven again: %v", r)
		}
	}
	for _, o := range s.records.Operations() {
		if o.State != succeeded {
			t.Errorf("got %v", o)
		}
	}
}

// asked returns how many verifications a store has been asked for.
func (s *sim) asked(store string) int {
	n := 0
	for _, id := range s.images {
		if r, _ := s.records.Replica(id, "dcn0"); r.GetStoreId() == store && verifying(r) {
			n++
		}
	}
	return n
}

// restart makes the hub forget all but its records.
func (s *sim) restart() {
	s.scrubs = NewScrubs(s.loop.Config)
	for _, st := range s.stores {
		clear(st.observed)
	}
	s.scrubs.log = hclog.NewNullLogger()
}
