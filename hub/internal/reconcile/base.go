package reconcile

import (
	"slices"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/sketch"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Sketches tells what contents have in common. It is the staging area.
type Sketches interface {
	// Sketch returns the sketch of a complete content; nil when there is none.
	Sketch(content image.ID) *sketch.Sketch
}

const (
	// worthwhile is how much of a content, in percent, a base must probably have that nothing else speaks for.
	worthwhile = 10
	// clearly is how many points more it must have than the one that names and properties speak for. Estimates are wrong by
	// less, as a rule.
	clearly = 10
	// maxCompared bounds how many images in a store are compared by their sketches; the newest.
	maxCompared = 512
)

// Base is the choice of what a copy is made of.
type Base struct {
	Image   *storev1.Image // nil: nothing
	Reason  storev1.BaseReason
	Percent *int32 // how much of the content the base has, as estimated; nil: not known
}

// lineage is how much names and properties say that one image is like another; 0: nothing.
type lineage int

const (
	unrelated  lineage = iota
	sameSystem         // the same os_distro
	sameRelease
	sameName
)

// chooser finds the images with a published copy in a store that are most probably like an image. Only images of the same
// project count, and public ones. Not safe for concurrent use; made anew for each plan.
type chooser struct {
	records  catalog.Reader
	sketches Sketches // may be nil
	img      *storev1.Image

	begun      bool
	candidates []*storev1.Image // the newest first
	mine       *sketch.Sketch
	percent    map[string]*int32 // by content
}

// choose returns the base for a store: the image that image.PropertyBase names; else the newest one of the same name, else of the
// same system; but the one whose data is most like it when that is clearly more like it.
func (c *chooser) choose(store image.StoreID) Base {
	c.begin()
	if name := c.img.Properties[image.PropertyBase]; name != "" {
		i := slices.IndexFunc(c.candidates, func(other *storev1.Image) bool { return other.Id == name && c.holds(store, other) })
		if i < 0 {
			return Base{Reason: storev1.BaseReason_BASE_REASON_NONE}
		}
		return c.base(c.candidates[i], storev1.BaseReason_BASE_REASON_EXPLICIT)
	}
	var related, like *storev1.Image
	var most lineage
	var percent int32
	compared := 0
	for _, other := range c.candidates {
		if !c.holds(store, other) {
			continue
		}
		if l := relation(c.img, other); l > most {
			related, most = other, l
		}
		if compared < maxCompared {
			compared++
			if p := c.alike(other); p != nil && *p > percent {
				like, percent = other, *p
			}
		}
	}
	if related == nil {
		if percent < worthwhile {
			return Base{Reason: storev1.BaseReason_BASE_REASON_NONE}
		}
		return c.base(like, storev1.BaseReason_BASE_REASON_CONTENT)
	}
	if p := c.alike(related); p != nil && percent >= max(worthwhile, *p+clearly) {
		return c.base(like, storev1.BaseReason_BASE_REASON_CONTENT)
	}
	return c.base(related, storev1.BaseReason_BASE_REASON_LINEAGE)
}

func (c *chooser) base(other *storev1.Image, reason storev1.BaseReason) Base {
	return Base{Image: other, Reason: reason, Percent: c.alike(other)}
}

// begin looks at every image.
func (c *chooser) begin() {
	if c.begun {
		return
	}
	c.begun, c.percent = true, map[string]*int32{}
	for _, other := range c.records.Images() {
		if usable(c.img, other) {
			c.candidates = append(c.candidates, other)
		}
	}
	if c.sketches != nil && c.img.Content.GetComplete() {
		c.mine = c.sketches.Sketch(image.ID(c.img.Content.Id))
	}
}

// alike returns how much of the content the other image has, in percent; nil when that is not known.
func (c *chooser) alike(other *storev1.Image) *int32 {
	if c.mine == nil {
		return nil
	}
	p, done := c.percent[other.Content.Id]
	if !done {
		if s := c.sketches.Sketch(image.ID(other.Content.Id)); s != nil {
			if n, known := c.mine.In(s); known {
				n := int32(n) //nolint:gosec // a percentage
				p = &n
			}
		}
		c.percent[other.Content.Id] = p
	}
	return p
}

// holds reports whether a store has a published copy of an image that will stay.
func (c *chooser) holds(store image.StoreID, other *storev1.Image) bool {
	r, _ := c.records.Replica(image.ID(other.Id), store)
	return r.GetPhase() == storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE && r.Removal == storev1.Removal_REMOVAL_UNSPECIFIED &&
		r.ContentId == other.Content.Id
}

// usable reports whether an image may be the base of another one.
func usable(img, other *storev1.Image) bool {
	return other.Id != img.Id && other.Status == storev1.ImageStatus_IMAGE_STATUS_ACTIVE && other.Content.GetComplete() && other.Content.Id != "" &&
		(img.Owner == other.Owner || other.Visibility == storev1.Visibility_VISIBILITY_PUBLIC)
}

// relation says how much names and properties speak for other.
func relation(img, other *storev1.Image) lineage {
	switch {
	case img.Name != "" && img.Name == other.Name:
		return sameName
	case !same(img, other, "os_distro"):
		return unrelated
	case same(img, other, "os_version"):
		return sameRelease
	default:
		return sameSystem
	}
}

func same(a, b *storev1.Image, property string) bool {
	return a.Properties[property] != "" && a.Properties[property] == b.Properties[property]
}

// chooseBases names the base of each copy that is to be filled: at first by what is said of the image, and once more when its data
// has come and can be compared.
func (p *planner) chooseBases() {
	if p.w.Base == nil {
		return
	}
	complete := p.img.Content.GetComplete()
	for _, s := range p.stores() {
		r := p.replicas[s]
		filling := r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_PENDING || r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_TRANSFERRING
		if !filling || r.Adopted || r.Removal != storev1.Removal_REMOVAL_UNSPECIFIED || r.BaseSettled || r.ContentId != p.img.Content.GetId() ||
			!complete && r.BaseReason != storev1.BaseReason_BASE_REASON_UNSPECIFIED {
			continue
		}
		b := p.w.Base(s)
		r.BaseImageId, r.BaseContentId = b.Image.GetId(), b.Image.GetContent().GetId()
		r.BaseReason, r.BasePercent, r.BaseSettled = b.Reason, b.Percent, complete
	}
}
