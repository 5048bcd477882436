package reconcile

import (
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// baseWorld is a catalog of images that all have a copy in the central store unless said otherwise.
type baseWorld struct {
	catalog.Reader
	images []*storev1.Image
	phase  map[string]storev1.ReplicaPhase // of the copies; ACTIVE when not named
}

func (w *baseWorld) Images() []*storev1.Image { return w.images }

func (w *baseWorld) Replica(id image.ID, store image.StoreID) (*storev1.Replica, int64) {
	if store != "central" {
		return nil, 0
	}
	phase, named := w.phase[string(id)]
	if !named {
		phase = storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE
	}
	return &storev1.Replica{ImageId: string(id), ContentId: "c-" + string(id), Phase: phase}, 1
}

func TestChooseBase(t *testing.T) {
	t.Parallel()
	when := time.Unix(0, 0)
	make1 := func(id, name, owner string, properties map[string]string) *storev1.Image {
		when = when.Add(time.Hour)
		return &storev1.Image{
			Id: id, Name: name, Owner: owner, Properties: properties, Status: storev1.ImageStatus_IMAGE_STATUS_ACTIVE,
			CreateTime: catalog.Stamp(when), Content: &storev1.Content{Id: "c-" + id, Complete: true},
		}
	}
	debian := map[string]string{"os_distro": "debian", "os_version": "12"}
	images := []*storev1.Image{
		make1("old", "web", "p", nil),
		make1("new", "web", "p", nil),
		make1("foreign", "web", "q", nil),
		make1("debian12", "base", "p", debian),
		make1("debian13", "trixie", "p", map[string]string{"os_distro": "debian", "os_version": "13"}),
	}
	public := make1("public", "shop", "q", nil)
	public.Visibility = storev1.Visibility_VISIBILITY_PUBLIC
	queued := make1("queued", "shop", "p", nil)
	queued.Status = storev1.ImageStatus_IMAGE_STATUS_QUEUED
	images = append(images, public, queued, make1("filling", "shop", "p", nil))
	w := &baseWorld{images: images, phase: map[string]storev1.ReplicaPhase{"filling": storev1.ReplicaPhase_REPLICA_PHASE_TRANSFERRING}}
	for name, c := range map[string]struct {
		img   *storev1.Image
		store image.StoreID
		want  string
	}{
		"newest of its name":        {make1("x", "web", "p", debian), "central", "new"},
		"of its release":            {make1("x", "other", "p", debian), "central", "debian12"},
		"of its system":             {make1("x", "other", "p", map[string]string{"os_distro": "debian"}), "central", "debian13"},
		"named":                     {make1("x", "web", "p", map[string]string{"atoll_base": "old"}), "central", "old"},
		"named one of others":       {make1("x", "web", "p", map[string]string{"atoll_base": "foreign"}), "central", ""},
		"none wanted":               {make1("x", "web", "p", map[string]string{"atoll_base": "none"}), "central", ""},
		"public of another project": {make1("x", "shop", "p", nil), "central", "public"},
		"nothing like it":           {make1("x", "alone", "p", nil), "central", ""},
		"no name":                   {make1("x", "", "p", nil), "central", ""},
		"none at that site":         {make1("x", "web", "p", nil), "dcn0", ""},
		"not itself":                {images[1], "central", "old"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := chooseBase(w, c.img, c.store).GetId(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
