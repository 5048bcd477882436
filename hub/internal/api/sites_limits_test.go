package api

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/atoll-dcn/atoll/hub/internal/bandwidth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// fixedBandwidth says the same of each site.
type fixedBandwidth bandwidth.Status

func (b fixedBandwidth) Status(image.SiteID) bandwidth.Status { return bandwidth.Status(b) }

func (b fixedBandwidth) HubStatus() bandwidth.Status { return bandwidth.Status(b) }

func TestSetSiteLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", time.Time{})
	ctx := w.as("admin")
	window := "Mon-Fri 08:00-18:00 Europe/Berlin=2MiB/s"
	set := func(l *hubv1.SiteLimits, paths ...string) (*hubv1.Site, error) {
		res, err := w.sites.SetSiteLimits(ctx, &hubv1.SetSiteLimitsRequest{Id: "dcn0", Limits: l, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}})
		return res.GetSite(), fromStatus(err)
	}
	site, err := set(&hubv1.SiteLimits{BytesPerSecond: proto.Int64(1 << 20), Windows: []string{window}})
	if err != nil || site.GetLimits().GetBytesPerSecond() != 1<<20 || len(site.Limits.Windows) != 1 {
		t.Fatalf("got %v, %v", site, err)
	}
	if site, err = set(nil, "bytes_per_second"); err != nil || site.GetLimits().BytesPerSecond != nil || site.Limits.Windows[0] != window {
		t.Fatalf("got %v, %v", site, err)
	}
	if site, err = set(&hubv1.SiteLimits{ParallelTransfers: proto.Int32(3)}, "parallel_transfers"); err != nil ||
		site.GetLimits().GetParallelTransfers() != 3 || site.Limits.Windows[0] != window {
		t.Fatalf("got %v, %v", site, err)
	}
	if site, err = set(nil); err != nil || site.GetLimits() != nil {
		t.Fatalf("got %v, %v", site, err)
	}
	for _, c := range []struct {
		limits *hubv1.SiteLimits
		path   string
		text   string
	}{
		{&hubv1.SiteLimits{BytesPerSecond: proto.Int64(5)}, "bytes_per_second", "limits.bytes_per_second"},
		{&hubv1.SiteLimits{Windows: []string{"Mon 08:00-18:00 Nowhere=0"}}, "windows", "limits.windows"},
		{&hubv1.SiteLimits{ParallelTransfers: proto.Int32(0)}, "parallel_transfers", "limits.parallel_transfers"},
		{nil, "description", "update_mask"},
	} {
		if _, err := set(c.limits, c.path); fault.ClassOf(err) != fault.Invalid || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: got %v", c.text, err)
		}
	}
}

func TestPauseSite(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", time.Time{})
	ctx := w.as("admin")
	paused, err := w.sites.PauseSite(ctx, &hubv1.PauseSiteRequest{Id: "dcn0"})
	if err != nil || paused.Site.PauseTime == nil {
		t.Fatalf("got %v, %v", paused, err)
	}
	resumed, err := w.sites.ResumeSite(ctx, &hubv1.ResumeSiteRequest{Id: "dcn0"})
	if err != nil || resumed.Site.PauseTime != nil {
		t.Fatalf("got %v, %v", resumed, err)
	}
	if _, err = w.sites.PauseSite(ctx, &hubv1.PauseSiteRequest{Id: "dcn9"}); fault.ReasonOf(fromStatus(err)) != "SITE_NOT_FOUND" {
		t.Fatalf("got %v", err)
	}
	for name, call := range map[string]func(context.Context) error{
		"limit": func(ctx context.Context) error {
			_, err := w.sites.SetSiteLimits(ctx, &hubv1.SetSiteLimitsRequest{Id: "dcn0"})
			return err
		},
		"pause": func(ctx context.Context) error {
			_, err := w.sites.PauseSite(ctx, &hubv1.PauseSiteRequest{Id: "dcn0"})
			return err
		},
		"resume": func(ctx context.Context) error {
			_, err := w.sites.ResumeSite(ctx, &hubv1.ResumeSiteRequest{Id: "dcn0"})
			return err
		},
	} {
		if err := call(w.as("alice")); classOf(err) != fault.Denied {
			t.Errorf("%s by a user: %v", name, err)
		}
	}
}

// The figures of a site are those of the limiter.
func TestSiteBandwidth(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", time.Time{})
	next := time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		status bandwidth.Status
		limit  *int64
	}{
		{bandwidth.Status{Limit: 1 << 20, Next: next, Rate: 77}, proto.Int64(1 << 20)},
		{bandwidth.Status{Limit: 0}, proto.Int64(0)},
		{bandwidth.Status{Limit: -1}, nil},
	} {
		v := newView(Config{Catalog: w.catalog, Directory: w.directory, Identity: noIdentity{}, Bandwidth: fixedBandwidth(c.status)})
		m, err := v.site("dcn0")
		if err != nil {
			t.Fatal(err)
		}
		if (m.LimitBytesPerSecond == nil) != (c.limit == nil) || m.GetLimitBytesPerSecond() != int64(max(c.status.Limit, 0)) ||
			m.BytesPerSecond != c.status.Rate || (m.LimitChangeTime == nil) != c.status.Next.IsZero() {
			t.Errorf("%+v: got %v", c.status, m)
		}
	}
}
