package api

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/atoll-dcn/atoll/pkg/fault"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func TestHubLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", time.Time{})
	ctx := w.as("admin")
	const window = "Mon-Fri 08:00-18:00 Europe/Berlin=2MiB/s"
	get := func() *hubv1.HubLimits {
		res, err := w.limits.GetHubLimits(ctx, &hubv1.GetHubLimitsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return res.GetLimits()
	}
	set := func(l *hubv1.HubLimits, paths ...string) error {
		res, err := w.limits.UpdateHubLimits(ctx, &hubv1.UpdateHubLimitsRequest{Limits: l, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}})
		if err == nil && !proto.Equal(res.GetLimits(), get()) {
			t.Errorf("answered %v", res)
		}
		return fromStatus(err)
	}
	if l := get(); l.Stored || l.GetBytesPerSecond() != 7<<20 || len(l.Windows) != 0 {
		t.Errorf("as the flags say: %v", l)
	}
	if err := set(&hubv1.HubLimits{Windows: []string{window}}, "windows"); err != nil {
		t.Fatal(err)
	}
	if l := get(); !l.Stored || l.GetBytesPerSecond() != 7<<20 || len(l.Windows) != 1 {
		t.Errorf("windows beside the rate of the flags: %v", l)
	}
	if err := set(&hubv1.HubLimits{BytesPerSecond: proto.Int64(0)}, "bytes_per_second"); err != nil {
		t.Fatal(err)
	}
	if l := get(); l.BytesPerSecond == nil || *l.BytesPerSecond != 0 || len(l.Windows) != 1 {
		t.Errorf("a rate beside windows: %v", l)
	}
	if err := set(nil); err != nil {
		t.Fatal(err)
	}
	if l := get(); !l.Stored || l.BytesPerSecond != nil || len(l.Windows) != 0 {
		t.Errorf("no limit: %v", l)
	}
	for field, req := range map[string]*hubv1.UpdateHubLimitsRequest{
		"limits.bytes_per_second": {Limits: &hubv1.HubLimits{BytesPerSecond: proto.Int64(1000)}},
		"limits.windows":          {Limits: &hubv1.HubLimits{Windows: []string{"Mon 08:00-18:00 Nowhere=0"}}},
		"update_mask":             {UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"stored"}}},
		"use_flags":               {UseFlags: true, Limits: &hubv1.HubLimits{}},
	} {
		_, err := w.limits.UpdateHubLimits(ctx, req)
		if err = fromStatus(err); fault.ClassOf(err) != fault.Invalid || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: got %v", field, err)
		}
	}
	if _, err := w.limits.UpdateHubLimits(ctx, &hubv1.UpdateHubLimitsRequest{UseFlags: true}); err != nil {
		t.Fatal(err)
	}
	if l := get(); l.Stored || l.GetBytesPerSecond() != 7<<20 {
		t.Errorf("the flags again: %v", l)
	}
}
