package reconcile

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/sketch"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// baseWorld is a catalog of images that all have a copy in the central store unless said otherwise.
type baseWorld struct {
	catalog.Reader
	images []*storev1.Image
	phase  map[string]storev1.ReplicaPhase // of the copies; ACTIVE when not named
	data   map[string]*sketch.Sketch       // by content
}

func (w *baseWorld) Sketch(content image.ID) *sketch.Sketch { return w.data[string(content)] }

// Images returns the newest first.
func (w *baseWorld) Images() []*storev1.Image {
	images := slices.Clone(w.images)
	slices.Reverse(images)
	return images
}

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

// disk returns the sketch of a disk that has blocks of several distributions: so many of each letter.
func disk(parts map[byte]int) *sketch.Sketch {
	s := &sketch.Sketch{}
	for letter, count := range parts {
		for i := range count {
			block := make([]byte, sketch.BlockSize)
			block[0], block[1], block[2] = letter, byte(i), byte(i>>8)
			s.Add(block)
		}
	}
	return s
}

// What data says decides when nothing else is said, or when what is said is clearly wrong.
func TestChooseBaseByContent(t *testing.T) {
	t.Parallel()
	when := time.Unix(0, 0)
	w := &baseWorld{data: map[string]*sketch.Sketch{}}
	add := func(id, name, owner string, d *sketch.Sketch, properties map[string]string) *storev1.Image {
		when = when.Add(time.Hour)
		img := &storev1.Image{
			Id: id, Name: name, Owner: owner, Properties: properties, Status: storev1.ImageStatus_IMAGE_STATUS_ACTIVE,
			CreateTime: catalog.Stamp(when), Content: &storev1.Content{Id: "c-" + id, Complete: true},
		}
		w.data["c-"+id] = d
		return img
	}
	debian := map[string]string{"os_distro": "debian"}
	const n = 4000
	w.images = []*storev1.Image{
		add("most", "one", "p", disk(map[byte]int{'d': n, 'x': n / 8}), nil),
		add("half", "two", "p", disk(map[byte]int{'d': n / 2, 'y': n}), nil),
		add("twin a", "three", "p", disk(map[byte]int{'r': n}), nil),
		add("twin b", "four", "p", disk(map[byte]int{'r': n}), nil),
		add("nearly", "near", "p", disk(map[byte]int{'d': n - n/20}), nil),
		add("unlike", "web", "p", disk(map[byte]int{'u': n}), debian),
		add("older", "old", "p", nil, nil),
		add("foreign", "five", "q", disk(map[byte]int{'f': n}), nil),
		add("a bit", "six", "p", disk(map[byte]int{'b': n / 20}), nil),
	}
	for name, c := range map[string]struct {
		img    *storev1.Image
		want   string
		reason storev1.BaseReason
	}{
		"the most alike":              {add("x1", "new", "p", disk(map[byte]int{'d': n}), nil), "most", storev1.BaseReason_BASE_REASON_CONTENT},
		"the newest of equal ones":    {add("x2", "new", "p", disk(map[byte]int{'r': n}), nil), "twin b", storev1.BaseReason_BASE_REASON_CONTENT},
		"too little in common":        {add("x3", "new", "p", disk(map[byte]int{'b': n, 'q': n}), nil), "", storev1.BaseReason_BASE_REASON_NONE},
		"others may not be used":      {add("x4", "new", "p", disk(map[byte]int{'f': n}), nil), "", storev1.BaseReason_BASE_REASON_NONE},
		"the name is wrong":           {add("x5", "web", "p", disk(map[byte]int{'d': n}), nil), "most", storev1.BaseReason_BASE_REASON_CONTENT},
		"the system is wrong":         {add("x6", "new", "p", disk(map[byte]int{'d': n}), debian), "most", storev1.BaseReason_BASE_REASON_CONTENT},
		"the name is not much worse":  {add("x7", "near", "p", disk(map[byte]int{'d': n}), nil), "nearly", storev1.BaseReason_BASE_REASON_LINEAGE},
		"the name cannot be compared": {add("x8", "old", "p", disk(map[byte]int{'d': n}), nil), "older", storev1.BaseReason_BASE_REASON_LINEAGE},
		"the data is not known":       {add("x9", "web", "p", nil, nil), "unlike", storev1.BaseReason_BASE_REASON_LINEAGE},
		"nothing is known":            {add("xa", "new", "p", nil, nil), "", storev1.BaseReason_BASE_REASON_NONE},
		"a property decides": {
			add("xb", "new", "p", disk(map[byte]int{'d': n}), map[string]string{"atoll_base": "half"}), "half", storev1.BaseReason_BASE_REASON_EXPLICIT,
		},
		"a property says none": {
			add("xc", "new", "p", disk(map[byte]int{'d': n}), map[string]string{"atoll_base": "none"}), "", storev1.BaseReason_BASE_REASON_NONE,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := (&chooser{records: w, sketches: w, img: c.img}).choose("central")
			if got.Image.GetId() != c.want || got.Reason != c.reason {
				t.Errorf("got %q because of %v (%d%%), want %q because of %v", got.Image.GetId(), got.Reason, got.Percent, c.want, c.reason)
			}
		})
	}
}

// Of very many images in a store the newest are compared, and each once however many stores there are.
func TestChooseBaseIsBounded(t *testing.T) {
	t.Parallel()
	w := &counting{}
	d := disk(map[byte]int{'d': 500})
	for i := range maxCompared + 10 {
		w.images = append(w.images, &storev1.Image{
			Id: fmt.Sprintf("%04d", i), Status: storev1.ImageStatus_IMAGE_STATUS_ACTIVE, CreateTime: catalog.Stamp(time.Unix(int64(i), 0)),
			Content: &storev1.Content{Id: fmt.Sprintf("c-%04d", i), Complete: true},
		})
	}
	w.like = d
	img := &storev1.Image{Id: "x", Content: &storev1.Content{Id: "c-x", Complete: true}}
	c := &chooser{records: w, sketches: w, img: img}
	for range 3 {
		if got := c.choose("central"); got.Image.GetId() != w.images[len(w.images)-1].Id || got.Percent == nil || *got.Percent != 100 {
			t.Fatalf("got %v", got)
		}
	}
	if w.asked != maxCompared+1 {
		t.Errorf("%d sketches were asked for", w.asked)
	}
}

type counting struct {
	baseWorld
	like  *sketch.Sketch
	asked int
}

func (w *counting) Sketch(image.ID) *sketch.Sketch {
	w.asked++
	return w.like
}

// A base is named when a copy begins, and once more when all data is there; then the choice stands.
func TestBasesArePlanned(t *testing.T) {
	t.Parallel()
	base := func(id string, reason storev1.BaseReason) Base {
		return Base{Image: &storev1.Image{Id: id, Content: &storev1.Content{Id: "c-" + id}}, Reason: reason}
	}
	early, late := base("early", storev1.BaseReason_BASE_REASON_LINEAGE), base("late", storev1.BaseReason_BASE_REASON_CONTENT)
	chosen := early
	asked := 0
	p := &planner{
		img: &storev1.Image{Content: &storev1.Content{Id: "c"}}, replicas: map[image.StoreID]*storev1.Replica{},
		w: World{Base: func(image.StoreID) Base { asked++; return chosen }},
	}
	make1 := func(phase storev1.ReplicaPhase) *storev1.Replica {
		return &storev1.Replica{ContentId: "c", Phase: phase}
	}
	filling := make1(storev1.ReplicaPhase_REPLICA_PHASE_TRANSFERRING)
	adopted := make1(storev1.ReplicaPhase_REPLICA_PHASE_PENDING)
	adopted.Adopted = true
	leaving := make1(storev1.ReplicaPhase_REPLICA_PHASE_PENDING)
	leaving.Removal = storev1.Removal_REMOVAL_CHECKING
	p.replicas["a"], p.replicas["b"], p.replicas["c"] = filling, adopted, leaving
	p.replicas["d"] = make1(storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE)
	for range 2 {
		p.chooseBases()
	}
	if asked != 1 || filling.BaseImageId != "early" || filling.BaseContentId != "c-early" || filling.BaseReason != early.Reason || filling.BaseSettled {
		t.Errorf("while the data comes: asked %d times, %v", asked, filling)
	}
	p.img.Content.Complete, chosen = true, late
	for range 2 {
		p.chooseBases()
	}
	if asked != 2 || filling.BaseImageId != "late" || filling.BaseReason != late.Reason || !filling.BaseSettled {
		t.Errorf("when it has come: asked %d times, %v", asked, filling)
	}
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
			got := (&chooser{records: w, img: c.img}).choose(c.store)
			if got.Image.GetId() != c.want || got.Percent != nil {
				t.Errorf("got %q (%v), want %q", got.Image.GetId(), got.Percent, c.want)
			}
			want := storev1.BaseReason_BASE_REASON_LINEAGE
			switch {
			case c.want == "":
				want = storev1.BaseReason_BASE_REASON_NONE
			case c.img.Properties[image.PropertyBase] != "":
				want = storev1.BaseReason_BASE_REASON_EXPLICIT
			}
			if got.Reason != want {
				t.Errorf("because of %v, want %v", got.Reason, want)
			}
		})
	}
}
