package bandwidth

import (
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/schedule"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Grace is how long frames that have begun may go on at a site that has been stopped.
const Grace = time.Second

// Records are the records of sites.
type Records interface {
	Site(id image.SiteID) (*storev1.Site, int64)
	Sites() []*storev1.Site
	Hub() (*storev1.Hub, int64)
	Subscribe() catalog.Subscription
}

// Config is what a Limiter needs.
type Config struct {
	Records Records
	Hub     schedule.Schedule // for all sites together, as long as the records say nothing
	// Changed is told that a site has been stopped or may go on. It must not block.
	Changed  func(image.SiteID)
	Log      hclog.Logger
	Registry prometheus.Registerer // nil: no metrics
	Now      func() time.Time
}

// Limiter paces the frames of all sites. Safe for concurrent use. Run must be running for changes to act.
type Limiter struct {
	Config
	moved *prometheus.CounterVec

	mu      sync.Mutex
	limits  *storev1.HubLimits // that schedule is made of; nil: it is Config.Hub
	all     schedule.Schedule  // for all sites together
	hub     bucket
	hubRate schedule.Rate // in force; 0: all sites are stopped
	sites   map[image.SiteID]*site
	changed chan struct{} // closed when a rate has changed
	queue   chan struct{} // holds who waits for the limit of all
}

// site is the state of one site, guarded by Limiter.mu.
type site struct {
	id       image.SiteID
	limits   *storev1.SiteLimits // that schedule is made of
	schedule schedule.Schedule
	own      schedule.Rate // in force by the site's own schedule
	bucket   bucket
	next     time.Time     // when the rate in force changes next; zero: never
	stopped  time.Time     // since when nothing may begin; zero: it may
	why      string        // it is stopped
	begun    int           // frames that have their turn
	waiting  []*waiter     // for a turn, the highest rank first, then the first to come
	queue    chan struct{} // holds who takes a piece
	meter    meter
}

// New returns a limiter that knows the limits of the records as they are.
func New(c Config) *Limiter {
	l := &Limiter{
		Config: c, moved: newMetrics(c.Registry), sites: map[image.SiteID]*site{}, changed: make(chan struct{}), queue: make(chan struct{}, 1),
		all: c.Hub, hub: bucket{rate: schedule.Unlimited}, hubRate: schedule.Unlimited,
	}
	l.refresh()
	return l
}

// Status is what applies to a site now.
type Status struct {
	Limit schedule.Rate // the lower one of the site's and that of all
	Next  time.Time     // when it changes; zero: it does not
	Rate  int64         // at which frames moved lately, in bytes per second; not told of all sites together
}

// Status returns what applies to a site now.
func (l *Limiter) Status(id image.SiteID) Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.siteLocked(id)
	return Status{Limit: schedule.Lower(s.own, l.hubRate), Next: s.next, Rate: s.meter.perSecond(l.Now())}
}

// HubStatus returns what applies to all sites together now, by the records as they are.
func (l *Limiter) HubStatus() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.applyHubLocked()
	rate, next := l.all.At(l.Now())
	return Status{Limit: rate, Next: next}
}

// Stopped returns since when and why no frame may move to or from a site; zero when it may.
func (l *Limiter) Stopped(id image.SiteID) (since time.Time, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.siteLocked(id)
	return s.stopped, s.why
}

func (l *Limiter) siteLocked(id image.SiteID) *site {
	s := l.sites[id]
	if s == nil {
		s = &site{id: id, schedule: schedule.Always, own: schedule.Unlimited, bucket: bucket{rate: schedule.Unlimited}, queue: make(chan struct{}, 1)}
		l.sites[id] = s
		l.applyLocked(s, l.Now())
	}
	return s
}

// refresh makes what is in force what records and time say, and returns when the time says something else.
func (l *Limiter) refresh() (next time.Time) {
	l.mu.Lock()
	now := l.Now()
	l.applyHubLocked()
	rate, next := l.all.At(now)
	if rate != l.hubRate {
		l.Log.Info("bandwidth limit of the hub in force", "rate", rate.String())
		l.hubRate = rate
		if rate != 0 {
			l.hub.set(rate, now)
		}
	}
	var turned []image.SiteID
	known := map[image.SiteID]bool{}
	for _, r := range l.Records.Sites() {
		id := image.SiteID(r.Id)
		known[id] = true
		before := l.siteLocked(id).stopped
		s := l.sites[id]
		if l.applyLocked(s, now); before.IsZero() != s.stopped.IsZero() {
			turned = append(turned, id)
		}
		if !s.next.IsZero() && (next.IsZero() || s.next.Before(next)) {
			next = s.next
		}
	}
	for id, s := range l.sites {
		if !known[id] && s.begun == 0 && len(s.waiting) == 0 {
			delete(l.sites, id)
			l.moved.DeleteLabelValues(string(id))
		}
	}
	close(l.changed)
	l.changed = make(chan struct{})
	l.mu.Unlock()
	for _, id := range turned {
		l.Changed(id)
	}
	return next
}

// applyHubLocked brings the schedule of all sites in line with the record.
func (l *Limiter) applyHubLocked() {
	r, _ := l.Records.Hub()
	if proto.Equal(r.GetLimits(), l.limits) {
		return
	}
	l.limits, l.all = r.GetLimits(), l.Hub
	if l.limits == nil {
		return
	}
	s, err := catalog.HubSchedule(l.limits)
	if err != nil { // a hub of another version may have written it
		l.Log.Error("bandwidth limit of the hub not understood", "error", err)
		return
	}
	l.all = s
}

// applyLocked brings a site in line with its record and the time.
func (l *Limiter) applyLocked(s *site, now time.Time) {
	r, _ := l.Records.Site(s.id)
	if !proto.Equal(r.GetLimits(), s.limits) {
		s.limits = r.GetLimits()
		s.schedule = l.parse(s.id, s.limits)
	}
	rate, next := s.schedule.At(now)
	if rate != s.own {
		l.Log.Info("bandwidth limit of a site in force", "site", string(s.id), "rate", rate.String())
		s.own = rate
		if rate != 0 {
			s.bucket.set(rate, now)
		}
	}
	_, hubNext := l.all.At(now)
	if s.next = next; next.IsZero() || !hubNext.IsZero() && hubNext.Before(next) {
		s.next = hubNext
	}
	l.stopLocked(s, r, now)
	s.admitLocked(l.turnsLocked(s))
}

// stopLocked decides whether anything may move.
func (l *Limiter) stopLocked(s *site, r *storev1.Site, now time.Time) {
	switch {
	case r.GetPauseTime() != nil:
		s.why = "site " + string(s.id) + " is paused"
	case s.own == 0:
		s.why = "the bandwidth limit of site " + string(s.id) + " is 0"
	case l.hubRate == 0:
		s.why = "the bandwidth limit of the hub is 0"
	default:
		s.why = ""
	}
	switch {
	case s.why == "":
		s.stopped = time.Time{}
	case s.stopped.IsZero():
		s.stopped = now
	}
}

// parse returns the schedule of a record. One that cannot be read, which a hub of another version may have written, does not
// limit anything.
func (l *Limiter) parse(id image.SiteID, limits *storev1.SiteLimits) schedule.Schedule {
	s, err := catalog.SiteSchedule(limits)
	if err != nil {
		l.Log.Error("bandwidth limit not understood", "site", string(id), "error", err)
		return schedule.Always
	}
	return s
}

// turnsLocked returns how many frames of a site may move at the same time.
func (l *Limiter) turnsLocked(s *site) int {
	if s.own == 0 || l.hubRate == 0 {
		return 0
	}
	return turnsOf(schedule.Lower(s.own, l.hubRate))
}

// admitLocked gives turns to those that wait, or tells them that the site is stopped.
func (s *site) admitLocked(turns int) {
	for len(s.waiting) > 0 && (!s.stopped.IsZero() || s.begun < turns) {
		w := s.waiting[0]
		s.waiting = slices.Delete(s.waiting, 0, 1)
		if s.stopped.IsZero() {
			s.begun++
		} else {
			w.err = errStopped(s.why)
		}
		close(w.ready)
	}
}

// ReasonPaused is the reason of what waits because its site is stopped.
const ReasonPaused = "SITE_PAUSED"

func errStopped(why string) error { return fault.New(fault.Unavailable, ReasonPaused, "%s", why) }
