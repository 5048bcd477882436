package catalog_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

func TestLimitHub(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var seen *storev1.HubLimits
	set := func(l *storev1.HubLimits) error {
		return w.LimitHub(t.Context(), func(was *storev1.HubLimits) *storev1.HubLimits { seen = was; return l })
	}
	if err := set(nil); err != nil {
		t.Fatal(err)
	}
	if r, _ := w.records.Hub(); r != nil || seen != nil {
		t.Errorf("nothing was set, got %v after %v", r, seen)
	}
	good := &storev1.HubLimits{BytesPerSecond: proto.Int64(2 << 20), Windows: []string{"daily 08:00-18:00=0"}}
	if err := set(good); err != nil {
		t.Fatal(err)
	}
	for field, bad := range map[string]*storev1.HubLimits{
		"limits.bytes_per_second": {BytesPerSecond: proto.Int64(1 << 19)},
		"limits.windows":          {Windows: []string{"daily 08:00-18:00=1KiB/s"}},
	} {
		wantField(t, set(bad), field)
	}
	wantField(t, set(&storev1.HubLimits{BytesPerSecond: proto.Int64(-1)}), "limits.bytes_per_second")
	if r, _ := w.records.Hub(); !proto.Equal(r.GetLimits(), good) || !proto.Equal(seen, good) {
		t.Errorf("got %v after %v, want %v", r, seen, good)
	}
	for _, l := range []*storev1.HubLimits{{}, nil} {
		if err := set(l); err != nil {
			t.Fatal(err)
		}
		if r, _ := w.records.Hub(); (r.GetLimits() == nil) != (l == nil) {
			t.Errorf("got %v, want %v", r, l)
		}
	}
}
