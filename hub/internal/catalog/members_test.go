package catalog_test

import (
	"fmt"
	"testing"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

const (
	waiting  = storev1.MemberStatus_MEMBER_STATUS_PENDING
	accepted = storev1.MemberStatus_MEMBER_STATUS_ACCEPTED
)

func TestMembers(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t)
	id := w.queued()
	for _, p := range []string{"b", "a"} {
		if m, err := w.AddMember(t.Context(), id, p); err != nil || m.Status != waiting || m.ProjectId != p {
			t.Fatalf("got %v, %v", m, err)
		}
	}
	_, err := w.AddMember(t.Context(), id, "a")
	wantFault(t, err, fault.Exists, "MEMBER_EXISTS")
	_, err = w.AddMember(t.Context(), id, "")
	wantField(t, err, "member")
	_, err = w.SetMemberStatus(t.Context(), id, "c", accepted)
	wantFault(t, err, fault.NotFound, "MEMBER_NOT_FOUND")
	_, err = w.SetMemberStatus(t.Context(), id, "a", 0)
	wantField(t, err, "status")
	if m, err := w.SetMemberStatus(t.Context(), id, "a", accepted); err != nil || m.Status != accepted {
		t.Fatalf("got %v, %v", m, err)
	}
	wantFault(t, w.RemoveMember(t.Context(), id, "c"), fault.NotFound, "MEMBER_NOT_FOUND")
	if err := w.RemoveMember(t.Context(), id, "b"); err != nil {
		t.Fatal(err)
	}
	img, _ := w.records.Image(id)
	if len(img.Members) != 1 || img.Members[0].ProjectId != "a" || img.Members[0].Status != accepted {
		t.Fatalf("got %v", img.Members)
	}
}

func TestMembersOfSharedImagesOnly(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t)
	id := w.queued()
	w.change(id, func(img *storev1.Image) { img.Visibility = storev1.Visibility_VISIBILITY_PUBLIC })
	_, err := w.AddMember(t.Context(), id, "a")
	wantFault(t, err, fault.Denied, "NOT_SHARED")
}

// What is over a limit that was lowered may stay and shrink, but not grow.
func TestQuotas(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t)
	props := func(n int) map[string]string {
		m := map[string]string{}
		for i := range n {
			m[fmt.Sprint("k", i)] = "v"
		}
		return m
	}
	tags := func(n int) []string {
		var out []string
		for k := range props(n) {
			out = append(out, k)
		}
		return out
	}
	_, err := w.CreateImage(t.Context(), catalog.NewImage{Properties: props(129)})
	wantFault(t, err, fault.Exhausted, "PROPERTY_QUOTA")
	_, err = w.CreateImage(t.Context(), catalog.NewImage{Tags: tags(129)})
	wantFault(t, err, fault.Exhausted, "TAG_QUOTA")
	id := w.queued()
	w.change(id, func(img *storev1.Image) { img.Properties = props(200) })
	set := func(m map[string]string) error {
		return w.EditImage(t.Context(), id, 0, func(img *storev1.Image) error { img.Properties = m; return nil })
	}
	if err := set(props(199)); err != nil {
		t.Fatal(err)
	}
	grown := props(199)
	grown["new"] = "v"
	wantFault(t, set(grown), fault.Exhausted, "PROPERTY_QUOTA")
	for i := range 128 {
		if _, err := w.AddMember(t.Context(), id, fmt.Sprint("p", i)); err != nil {
			t.Fatal(err)
		}
	}
	_, err = w.AddMember(t.Context(), id, "one more")
	wantFault(t, err, fault.Exhausted, "MEMBER_QUOTA")
}

func TestEditKeepsWhatUsersMayNotChange(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t)
	id := w.active(map[image.StoreID]storev1.ReplicaPhase{"central": storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE})
	before, rev := w.records.Image(id)
	if err := w.EditImage(t.Context(), id, 0, func(img *storev1.Image) error {
		img.Status, img.Content, img.FailedStores, img.Deactivated = 1, nil, []string{"x"}, true
		img.Members = []*storev1.Member{{ProjectId: "thief"}}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if after, now := w.records.Image(id); now != rev || after.Status != before.Status || len(after.Members) > 0 {
		t.Fatalf("changed to %v", after)
	}
	wantFault(t, w.EditImage(t.Context(), id, 0, func(img *storev1.Image) error { img.DiskFormat = "iso"; return nil }), fault.Denied, "FORMAT_FIXED")
}

func TestDeactivate(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t)
	wantFault(t, w.SetDeactivated(t.Context(), w.queued(), true), fault.Denied, "NOT_ACTIVE")
	id := w.active(nil)
	for _, want := range []bool{true, true, false, false} {
		if err := w.SetDeactivated(t.Context(), id, want); err != nil {
			t.Fatal(err)
		}
		if img, _ := w.records.Image(id); img.Deactivated != want {
			t.Fatalf("deactivated is %t, want %t", img.Deactivated, want)
		}
	}
}
