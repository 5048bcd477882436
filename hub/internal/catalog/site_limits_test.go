package catalog_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/schedule"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

func TestLimitSite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	rate := func(n int64) *storev1.SiteLimits { return &storev1.SiteLimits{BytesPerSecond: &n} }
	office := "Mon-Fri 08:00-18:00 Europe/Berlin=1MiB/s"
	for _, step := range []struct {
		limits        *storev1.SiteLimits
		rate, windows bool
		parallel      bool
		want          *storev1.SiteLimits
	}{
		{rate(1 << 20), true, false, false, rate(1 << 20)},
		{&storev1.SiteLimits{Windows: []string{office}}, false, true, false, &storev1.SiteLimits{BytesPerSecond: proto.Int64(1 << 20), Windows: []string{office}}},
		{rate(0), true, false, false, &storev1.SiteLimits{BytesPerSecond: proto.Int64(0), Windows: []string{office}}},
		{nil, true, false, false, &storev1.SiteLimits{Windows: []string{office}}},
		{&storev1.SiteLimits{ParallelTransfers: proto.Int32(64)}, true, true, false, nil},
		{&storev1.SiteLimits{ParallelTransfers: proto.Int32(64)}, false, false, true, &storev1.SiteLimits{ParallelTransfers: proto.Int32(64)}},
		{rate(0), true, false, false, &storev1.SiteLimits{BytesPerSecond: proto.Int64(0), ParallelTransfers: proto.Int32(64)}},
		{nil, true, true, true, nil},
	} {
		if err := w.LimitSite(t.Context(), "dcn0", step.limits, catalog.LimitParts{Rate: step.rate, Windows: step.windows, Parallel: step.parallel}); err != nil {
			t.Fatal(err)
		}
		if s, _ := w.records.Site("dcn0"); !proto.Equal(s.Limits, step.want) {
			t.Fatalf("got %v, want %v", s.Limits, step.want)
		}
	}
	all := catalog.LimitParts{Rate: true, Windows: true, Parallel: true}
	wantField(t, w.LimitSite(t.Context(), "dcn0", rate(1000), all), "limits.bytes_per_second")
	wantField(t, w.LimitSite(t.Context(), "dcn0", rate(-1), all), "limits.bytes_per_second")
	wantField(t, w.LimitSite(t.Context(), "dcn0", rate(1<<50), all), "limits.bytes_per_second")
	wantField(t, w.LimitSite(t.Context(), "dcn0", &storev1.SiteLimits{Windows: []string{office, "Mon 8-9=0"}}, all), "limits.windows[1]")
	for _, n := range []int32{-1, 0, catalog.MostTransfers + 1} {
		wantField(t, w.LimitSite(t.Context(), "dcn0", &storev1.SiteLimits{ParallelTransfers: &n}, all), "limits.parallel_transfers")
	}
	wantFault(t, w.LimitSite(t.Context(), "dcn9", nil, all), fault.NotFound, "SITE_NOT_FOUND")
	if s, _ := w.records.Site("dcn0"); s.Limits != nil {
		t.Fatalf("a refused limit is kept: %v", s.Limits)
	}
}

func TestSiteSchedule(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		limits *storev1.SiteLimits
		want   schedule.Rate
	}{
		{nil, schedule.Unlimited},
		{&storev1.SiteLimits{}, schedule.Unlimited},
		{&storev1.SiteLimits{BytesPerSecond: proto.Int64(0)}, 0},
		{&storev1.SiteLimits{BytesPerSecond: proto.Int64(1 << 20), Windows: []string{"Mon 11:00-13:00=2MiB/s"}}, 2 << 20},
	} {
		s, err := catalog.SiteSchedule(c.limits)
		if rate, _ := s.At(now); err != nil || rate != c.want {
			t.Errorf("%v: got %s, %v", c.limits, rate, err)
		}
	}
}

func TestPauseSite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	began := w.now
	for _, step := range []struct {
		paused bool
		want   time.Time
	}{{true, began}, {true, began}, {false, time.Time{}}, {false, time.Time{}}} {
		if err := w.PauseSite(t.Context(), "dcn0", step.paused); err != nil {
			t.Fatal(err)
		}
		s, _ := w.records.Site("dcn0")
		if (s.PauseTime == nil) != step.want.IsZero() || s.PauseTime != nil && !s.PauseTime.AsTime().Equal(step.want) {
			t.Fatalf("paused since %v, want %s", s.PauseTime, step.want)
		}
		w.now = w.now.Add(time.Minute)
	}
	wantFault(t, w.PauseSite(t.Context(), "dcn9", true), fault.NotFound, "SITE_NOT_FOUND")
}
