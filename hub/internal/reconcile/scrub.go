package reconcile

import (
	"context"
	"hash/fnv"
	"io"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Scrubs prove every copy again from time to time: they ask for the verifications that nobody else asks for. What is due
// follows from the records alone, so that a restart neither forgets nor repeats anything.
type Scrubs struct {
	records  catalog.Records
	sites    Sites
	settings Settings
	metrics  *Metrics
	log      hclog.Logger
	now      func() time.Time

	looks map[image.SiteID]time.Time // when to look at a site again
}

// NewScrubs returns scrubs of all sites. Run must be running.
func NewScrubs(c Config) *Scrubs {
	return &Scrubs{
		records: c.Records, sites: c.Sites, settings: c.Settings, metrics: c.Metrics, log: c.Log, now: c.Now,
		looks: map[image.SiteID]time.Time{},
	}
}

// Run asks for verifications until ctx ends. It returns nil.
func (s *Scrubs) Run(ctx context.Context) error {
	tick := time.NewTicker(s.tick())
	defer tick.Stop()
	for {
		s.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

const (
	slowTick = time.Minute
	fastTick = 100 * time.Millisecond
	skips    = 10 // ticks for which a site is left alone at most that has nothing to do
)

// tick is the time between two looks: short against the period, so that sites always have something to read that should.
func (s *Scrubs) tick() time.Duration {
	if s.settings.ScrubPeriod == 0 {
		return slowTick
	}
	return min(max(s.settings.ScrubPeriod/200, fastTick), slowTick)
}

// look begins what is due at each site.
func (s *Scrubs) look(ctx context.Context) {
	stores := map[image.SiteID][]*storev1.Store{}
	for _, st := range s.records.Stores() {
		stores[image.SiteID(st.SiteId)] = append(stores[image.SiteID(st.SiteId)], st)
	}
	now := s.now()
	for site := range s.looks {
		if stores[site] == nil {
			delete(s.looks, site)
			s.metrics.forget(site)
		}
	}
	for site, list := range stores {
		if ctx.Err() != nil {
			return
		}
		if now.Before(s.looks[site]) {
			continue
		}
		t := s.tally(list)
		s.metrics.proof(site, t.oldest)
		begin, next := t.plan(s.settings, now)
		if limit := now.Add(skips * s.tick()); next.IsZero() || next.After(limit) {
			next = limit
		}
		s.looks[site] = next
		for _, r := range begin {
			s.begin(ctx, r)
		}
	}
}

// begin asks for one verification. When the record changes at the same moment the next look decides anew.
func (s *Scrubs) begin(ctx context.Context, seen *storev1.Replica) {
	id, store := image.ID(seen.ImageId), image.StoreID(seen.StoreId)
	old, rev := s.records.Replica(id, store)
	if old == nil || old.VerifyGeneration != seen.VerifyGeneration || old.Phase != seen.Phase || old.Removal != seen.Removal {
		return
	}
	r := proto.CloneOf(old)
	catalog.AskVerification(r, s.now())
	if err := s.records.Commit(ctx, catalog.Write{Key: catalog.ReplicaKey(id, store), Value: r, Revision: rev}); err != nil {
		if ctx.Err() == nil && !fault.Is(err, fault.Conflict) {
			s.log.Warn("scheduled verification not begun", "image", string(id), "store", string(store), "error", err)
		}
		return
	}
	s.metrics.begun()
	s.log.Debug("scheduled verification", "image", string(id), "store", string(store), "proven", proven(old))
}

// siteTally is what the schedule needs to know of a site.
type siteTally struct {
	idle    []*storev1.Replica // published copies that may be verified and are not
	running int                // verifications that the site has been asked for, by whomever
	oldest  time.Time          // the oldest proof; zero: there is no copy
}

// tally looks at all copies of a site.
func (s *Scrubs) tally(stores []*storev1.Store) siteTally {
	var t siteTally
	for _, st := range stores {
		usable := s.sites.View(st).sends()
		for _, r := range s.records.StoreReplicas(image.StoreID(st.Id)) {
			img, _ := s.records.Image(image.ID(r.ImageId))
			t.add(r, img, usable)
		}
	}
	return t
}

// add counts one copy. usable: its store can be read now.
func (t *siteTally) add(r *storev1.Replica, img *storev1.Image, usable bool) {
	if usable && verifying(r) && (r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE || r.Reason == catalog.ReasonDamaged) {
		t.running++
	}
	if r.Phase != storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE || r.Removal != storev1.Removal_REMOVAL_UNSPECIFIED ||
		!img.GetContent().GetComplete() || r.ContentId != img.Content.Id {
		return
	}
	if at := proven(r); t.oldest.IsZero() || at.Before(t.oldest) {
		t.oldest = at
	}
	if usable && !verifying(r) && r.NextAttemptTime == nil {
		t.idle = append(t.idle, r)
	}
}

// plan returns the copies to verify now, the oldest proof first, and when the next one is due; zero: never.
func (t *siteTally) plan(s Settings, now time.Time) (begin []*storev1.Replica, next time.Time) {
	if s.ScrubPeriod == 0 {
		return nil, time.Time{}
	}
	for _, r := range t.idle {
		due := scrubDue(r, s.ScrubPeriod)
		if !due.After(now) {
			begin, next = append(begin, r), now
		} else if next.IsZero() || due.Before(next) {
			next = due
		}
	}
	slices.SortStableFunc(begin, func(a, b *storev1.Replica) int { return proven(a).Compare(proven(b)) })
	return begin[:min(len(begin), max(s.ScrubParallel-t.running, 0))], next
}

// proven returns when a published copy was last proven. One that an earlier version has published and that has never been
// verified counts from then.
func proven(r *storev1.Replica) time.Time {
	if r.VerifyTime != nil {
		return r.VerifyTime.AsTime()
	}
	return r.PhaseTime.AsTime()
}

// verifying reports whether the site of a copy has been asked for a verification and has not answered yet.
func verifying(r *storev1.Replica) bool { return r.VerifyGeneration > r.VerifiedGeneration }

// scrubDue returns when the hub verifies a copy by itself: in the last quarter of the period after its latest proof, at a
// moment that is always the same for the copy, so that copies that were made together are not all read together.
func scrubDue(r *storev1.Replica, period time.Duration) time.Time {
	h := fnv.New32a()
	_, _ = io.WriteString(h, r.ImageId)
	_, _ = io.WriteString(h, "/"+r.StoreId)
	const parts = 1 << 16
	early := time.Duration(float64(period/4) * float64(h.Sum32()%parts) / parts)
	due := proven(r).Add(period - early)
	if r.NextVerifyTime != nil {
		due = later(due, r.NextVerifyTime.AsTime())
	}
	return due
}
