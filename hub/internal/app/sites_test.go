package app

import (
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atoll-dcn/atoll/hub/internal/bandwidth"
	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/catalog/catalogtest"
	"github.com/atoll-dcn/atoll/hub/internal/session"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/schedule"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// A site that does not come back after a restart of the hub has been away since the hub last wrote down that it was there,
// but it is not given up before it has had the time to come back.
func TestSinceSurvivesARestart(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, c := range map[string]struct {
		seen, want time.Time
	}{
		"away for long": {start.Add(-23 * time.Hour), start.Add(-23 * time.Hour)},
		"never seen":    {time.Time{}, start},
		"another clock": {start.Add(time.Hour), start},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			records := catalogtest.New()
			site := &storev1.Site{Id: "dcn0"}
			if !c.seen.IsZero() {
				site.LastSeenTime = timestamppb.New(c.seen)
			}
			records.Put(catalog.SiteKey("dcn0"), site)
			directory := session.NewDirectory(func() time.Time { return start }, func(...image.ID) {})
			limiter := bandwidth.New(bandwidth.Config{Records: records, Hub: schedule.Always, Log: hclog.NewNullLogger(), Now: time.Now})
			v := sites{directory, records, comeBack, limiter}.View(&storev1.Store{Id: "images", SiteId: "dcn0"})
			if v.Online || !v.Since.Equal(c.want) || !v.Expected.Equal(start.Add(comeBack)) {
				t.Fatalf("got %+v", v)
			}
		})
	}
}
