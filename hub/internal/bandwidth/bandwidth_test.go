package bandwidth

import (
	"context"
	"maps"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/catalog/catalogtest"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
	"github.com/atoll-dcn/atoll/pkg/schedule"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

const mib = 1 << 20

// world is a limiter that runs over records in memory. It lives in a synctest bubble, whose time is exact.
type world struct {
	t       *testing.T
	records *catalogtest.Records
	l       *Limiter

	mu      sync.Mutex
	changed []image.SiteID
	bytes   map[image.SiteID]int64
}

// inWorld runs f in a bubble with a limiter.
func inWorld(t *testing.T, hub schedule.Schedule, f func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, records: catalogtest.New(), bytes: map[image.SiteID]int64{}}
		for _, id := range []image.SiteID{"a", "b", "c"} {
			w.records.Put(catalog.SiteKey(id), &storev1.Site{Id: string(id)})
		}
		w.l = New(Config{
			Records: w.records, Hub: hub, Log: hclog.NewNullLogger(), Registry: prometheus.NewRegistry(), Now: time.Now,
			Changed: func(id image.SiteID) {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.changed = append(w.changed, id)
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.l.Run(ctx) }()
		f(w)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// set changes the record of a site.
func (w *world) set(id image.SiteID, change func(*storev1.Site)) {
	w.t.Helper()
	old, rev := w.records.Site(id)
	s := proto.CloneOf(old)
	change(s)
	if err := w.records.Commit(w.t.Context(), catalog.Write{Key: catalog.SiteKey(id), Value: s, Revision: rev}); err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
}

// limitAll changes the limit of all sites together; nil for what the hub was started with.
func (w *world) limitAll(l *storev1.HubLimits) {
	w.t.Helper()
	w.records.Put(catalog.HubKey(), &storev1.Hub{Limits: l})
	synctest.Wait()
}

func (w *world) limit(id image.SiteID, rate int64, windows ...string) {
	w.t.Helper()
	w.set(id, func(s *storev1.Site) { s.Limits = &storev1.SiteLimits{BytesPerSecond: &rate, Windows: windows} })
}

// load moves frames to a site over some connections, one after the other, until it is stopped. What a paused site refuses
// is asked for again.
func (w *world) load(id image.SiteID, connections int) (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	var wg sync.WaitGroup
	for range connections {
		wg.Go(func() {
			for ctx.Err() == nil {
				if w.frame(ctx, id) != nil {
					select {
					case <-ctx.Done():
					case <-time.After(100 * time.Millisecond):
					}
				}
			}
		})
	}
	return func() {
		cancel()
		wg.Wait()
	}
}

// frame moves one frame.
func (w *world) frame(ctx context.Context, id image.SiteID) error {
	turn, err := w.l.Begin(ctx, id, nil)
	if err != nil {
		return err
	}
	defer turn.End()
	for left := int64(frame.MaxSize); left > 0; {
		n, err := turn.Take(ctx, left)
		if err != nil {
			return err
		}
		left -= n
		w.mu.Lock()
		w.bytes[id] += n
		w.mu.Unlock()
		if w.l.Status(id).Limit == schedule.Unlimited { // else nothing would pass the time
			<-time.After(time.Millisecond)
		}
	}
	return nil
}

// speed returns how many MiB/s move to a site in a while.
func (w *world) speed(id image.SiteID, while time.Duration) float64 {
	w.mu.Lock()
	before := w.bytes[id]
	w.mu.Unlock()
	<-time.After(while)
	w.mu.Lock()
	defer w.mu.Unlock()
	return float64(w.bytes[id]-before) / mib / while.Seconds()
}

func (w *world) want(what string, got, want float64) {
	w.t.Helper()
	if math.Abs(got-want) > 0.06*want {
		w.t.Errorf("%s: %.2f MiB/s, want %.2f", what, got, want)
	}
}

// The rate is that of the limit, whatever the number of connections, and changes act at once on frames under way.
func TestSiteLimit(t *testing.T) {
	t.Parallel()
	inWorld(t, schedule.Always, func(w *world) {
		stop := w.load("a", 8)
		defer stop()
		if got := w.speed("a", time.Second); got < 500 {
			t.Errorf("without a limit: %.0f MiB/s", got)
		}
		w.limit("a", 8*mib)
		<-time.After(100 * time.Millisecond)
		w.want("limit", w.speed("a", 5*time.Second), 8)
		w.limit("a", mib)
		<-time.After(100 * time.Millisecond)
		w.want("lower", w.speed("a", 8*time.Second), 1)
		w.limit("a", 100*mib)
		<-time.After(100 * time.Millisecond)
		w.want("higher", w.speed("a", 5*time.Second), 100)
		w.limit("a", 64<<10)
		<-time.After(time.Second)
		w.want("lowest", w.speed("a", time.Minute), 1.0/16)
		s := w.l.Status("a")
		if s.Limit != 64<<10 || !s.Next.IsZero() || math.Abs(float64(s.Rate)-64<<10) > 16<<10 {
			t.Errorf("status %+v", s)
		}
		w.set("a", func(s *storev1.Site) { s.Limits = nil })
		if got := w.speed("a", time.Second); got < 500 {
			t.Errorf("without a limit again: %.0f MiB/s", got)
		}
	})
}

// At any limit a frame is through long before anybody gives up, and only few have begun.
func TestFramesAreSoonThrough(t *testing.T) {
	t.Parallel()
	for _, rate := range []schedule.Rate{catalog.LeastSiteRate, mib, 20 * mib, 1000 * mib} {
		inWorld(t, schedule.Always, func(w *world) {
			w.limit("a", int64(rate))
			var slowest time.Duration
			ctx, cancel := context.WithCancel(w.t.Context())
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for ctx.Err() == nil {
						turn, err := w.l.Begin(ctx, "a", nil)
						if err != nil {
							return
						}
						begin := time.Now()
						for left := int64(manifest.ChunkSize); left > 0; {
							n, err := turn.Take(ctx, left)
							if err != nil {
								break
							}
							left -= n
						}
						w.mu.Lock()
						slowest = max(slowest, time.Since(begin))
						w.mu.Unlock()
						turn.End()
					}
				})
			}
			alone := time.Duration(float64(manifest.ChunkSize) / float64(rate) * float64(time.Second))
			<-time.After(min(5*time.Minute, max(40*alone, 2*time.Second)))
			cancel()
			wg.Wait()
			if slowest > max(alone, time.Second)*3/2 {
				t.Errorf("%s: a frame took %s", rate, slowest)
			}
		})
	}
}

// Sites share the limit of all evenly, whatever the number of their connections; one with a lower limit leaves the rest.
func TestHubLimit(t *testing.T) {
	t.Parallel()
	inWorld(t, schedule.Schedule{Rate: 30 * mib}, func(w *world) {
		for id, connections := range map[image.SiteID]int{"a": 16, "b": 1, "c": 4} {
			defer w.load(id, connections)()
		}
		<-time.After(time.Second)
		w.mu.Lock()
		before := maps.Clone(w.bytes)
		w.mu.Unlock()
		<-time.After(20 * time.Second)
		w.mu.Lock()
		for id, n := range w.bytes {
			w.want(string(id), float64(n-before[id])/mib/20, 10)
		}
		w.mu.Unlock()
		w.limit("a", 2*mib)
		<-time.After(time.Second)
		w.want("limited site", w.speed("a", 10*time.Second), 2)
		w.want("another", w.speed("b", 10*time.Second), 14)
		if s := w.l.Status("b"); s.Limit != 30*mib {
			t.Errorf("status %+v", s)
		}
	})
}

// The limit of all sites changes under way, stops all, and goes back to what the hub was started with.
func TestHubLimitChanges(t *testing.T) {
	t.Parallel()
	inWorld(t, schedule.Schedule{Rate: 30 * mib}, func(w *world) {
		defer w.load("a", 8)()
		<-time.After(time.Second)
		w.want("flags", w.speed("a", 5*time.Second), 30)
		w.limitAll(&storev1.HubLimits{BytesPerSecond: proto.Int64(4 * mib)})
		<-time.After(time.Second)
		w.want("lower", w.speed("a", 10*time.Second), 4)
		w.limitAll(&storev1.HubLimits{BytesPerSecond: proto.Int64(4 * mib), Windows: []string{"daily 00:00-24:00=12MiB/s"}})
		<-time.After(time.Second)
		w.want("window", w.speed("a", 10*time.Second), 12)
		if s := w.l.HubStatus(); s.Limit != 12*mib || s.Next.IsZero() != w.l.Status("a").Next.IsZero() {
			t.Errorf("status %+v", s)
		}
		w.limitAll(&storev1.HubLimits{BytesPerSecond: proto.Int64(0)})
		if since, why := w.l.Stopped("b"); !since.Equal(time.Now()) || why != "the bandwidth limit of the hub is 0" {
			t.Errorf("stopped since %s: %q", since, why)
		}
		<-time.After(Grace)
		if got := w.speed("a", time.Minute); got != 0 {
			t.Errorf("%.2f MiB/s move", got)
		}
		for name, l := range map[string]*storev1.HubLimits{"reset": nil, "not understood": {BytesPerSecond: proto.Int64(5)}} {
			w.limitAll(l)
			if s := w.l.HubStatus(); s.Limit != 30*mib {
				t.Errorf("%s: status %+v", name, s)
			}
			if since, _ := w.l.Stopped("a"); !since.IsZero() {
				t.Errorf("%s: still stopped", name)
			}
		}
	})
}

// A paused site gets nothing after the grace; what began before comes through if it can. Others do not notice.
func TestPause(t *testing.T) {
	t.Parallel()
	inWorld(t, schedule.Always, func(w *world) {
		w.limit("a", 16*mib)
		defer w.load("a", 8)()
		<-time.After(3 * time.Second)
		w.set("a", func(s *storev1.Site) { s.PauseTime = timestamppb.Now() })
		since, why := w.l.Stopped("a")
		if !since.Equal(time.Now()) || why != "site a is paused" {
			t.Fatalf("stopped since %s: %q", since, why)
		}
		if _, err := w.l.Begin(w.t.Context(), "a", nil); !fault.Is(err, fault.Unavailable) || fault.ReasonOf(err) != ReasonPaused {
			t.Fatalf("got %v", err)
		}
		<-time.After(Grace)
		w.mu.Lock()
		if w.bytes["a"]%frame.MaxSize != 0 {
			t.Errorf("a frame was cut after %d bytes", w.bytes["a"]%frame.MaxSize)
		}
		w.mu.Unlock()
		if got := w.speed("a", time.Minute); got != 0 {
			t.Errorf("%.2f MiB/s move", got)
		}
		turn, err := w.l.Begin(w.t.Context(), "b", nil)
		if err != nil {
			t.Fatal(err)
		}
		turn.End()
		w.set("a", func(s *storev1.Site) { s.PauseTime = nil })
		w.want("resumed", w.speed("a", 5*time.Second), 16)
		if len(w.changed) != 2 || w.changed[0] != "a" || w.changed[1] != "a" {
			t.Errorf("told of %v", w.changed)
		}
	})
}

// A frame that cannot come through within the grace is cut.
func TestPauseCuts(t *testing.T) {
	t.Parallel()
	inWorld(t, schedule.Always, func(w *world) {
		w.limit("a", 64<<10)
		done := make(chan error, 1)
		go func() { done <- w.frame(w.t.Context(), "a") }()
		<-time.After(5 * time.Second)
		w.set("a", func(s *storev1.Site) { s.PauseTime = timestamppb.Now() })
		paused := time.Now()
		if err := <-done; fault.ReasonOf(err) != ReasonPaused || time.Since(paused) > Grace+10*time.Millisecond {
			t.Fatalf("got %v after %s", err, time.Since(paused))
		}
	})
}

// Windows act when their time comes; a rate of 0 is a pause.
func TestWindows(t *testing.T) {
	t.Parallel()
	inWorld(t, schedule.Always, func(w *world) { // the bubble begins at midnight UTC on 2000-01-01, a Saturday
		w.limit("a", 8*mib, "Sat 00:10-00:20=1MiB/s", "Sat 00:20-00:30=0")
		defer w.load("a", 2)()
		if s := w.l.Status("a"); !s.Next.Equal(time.Date(2000, 1, 1, 0, 10, 0, 0, time.UTC)) {
			t.Fatalf("status %+v", s)
		}
		w.want("before", w.speed("a", 10*time.Minute), 8)
		w.want("within", w.speed("a", 10*time.Minute), 1)
		<-time.After(2 * time.Second)
		if got := w.speed("a", 5*time.Minute); got != 0 {
			t.Errorf("stopped: %.2f MiB/s", got)
		}
		if _, why := w.l.Stopped("a"); why != "the bandwidth limit of site a is 0" {
			t.Errorf("why: %q", why)
		}
		<-time.After(5 * time.Minute)
		w.want("after", w.speed("a", time.Minute), 8)
	})
}

// Who waits for a turn gets the cause of its context, or learns that the site is paused.
func TestWaitingForATurn(t *testing.T) {
	t.Parallel()
	inWorld(t, schedule.Always, func(w *world) {
		w.limit("a", mib)
		turn, err := w.l.Begin(w.t.Context(), "a", nil)
		if err != nil {
			t.Fatal(err)
		}
		cause := fault.New(fault.Unavailable, "NOT_YET", "not yet")
		ctx, cancel := context.WithTimeoutCause(w.t.Context(), time.Second, cause)
		defer cancel()
		if _, err := w.l.Begin(ctx, "a", nil); fault.ReasonOf(err) != "NOT_YET" {
			t.Fatalf("got %v", err)
		}
		waits := make(chan error, 1)
		go func() {
			_, err := w.l.Begin(w.t.Context(), "a", nil)
			waits <- err
		}()
		synctest.Wait()
		w.set("a", func(s *storev1.Site) { s.PauseTime = timestamppb.Now() })
		if err := <-waits; fault.ReasonOf(err) != ReasonPaused {
			t.Fatalf("got %v", err)
		}
		turn.End()
		w.set("a", func(s *storev1.Site) { s.PauseTime = nil })
		if turn, err = w.l.Begin(w.t.Context(), "a", nil); err != nil {
			t.Fatal(err)
		}
		turn.End()
	})
}

// A limit that this version does not understand limits nothing; a site that is deleted is forgotten.
func TestStrangeRecords(t *testing.T) {
	t.Parallel()
	inWorld(t, schedule.Always, func(w *world) {
		w.limit("a", mib, "every full moon")
		if s := w.l.Status("a"); s.Limit != schedule.Unlimited {
			t.Errorf("status %+v", s)
		}
		_, rev := w.records.Site("a")
		if err := w.records.Commit(w.t.Context(), catalog.Write{Key: catalog.SiteKey("a"), Revision: rev}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.l.mu.Lock()
		defer w.l.mu.Unlock()
		if len(w.l.sites) != 2 {
			t.Errorf("%d sites are left", len(w.l.sites))
		}
	})
}
