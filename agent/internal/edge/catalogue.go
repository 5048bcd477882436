package edge

import (
	"slices"
	"sync"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// How much a catalogue holds; the hub answers for what does not fit.
const (
	maxCopies = 200_000
	maxBytes  = 256 << 20 // of encoded goals
)

// Copies is what the site itself knows of its copies and stores. Package replica's Manager implements it.
type Copies interface {
	// State returns what the site sees of a copy as the answer to the latest goal; unspecified when nothing was seen yet.
	State(image.ID, image.StoreID) (agentv1.ReplicaState, image.ID)
	// Stores returns the state of every store, sorted by id.
	Stores() []*agentv1.StoreStatus
}

// key names a copy.
type key struct {
	image image.ID
	store image.StoreID
}

// Catalogue is what a site knows of the images it holds or is about to hold. It implements imageapi.Source; methods may be
// called at the same time and block on each other only.
type Catalogue struct {
	site   image.SiteID
	copies Copies
	log    hclog.Logger

	mu       sync.Mutex
	entries  map[image.ID]*entry
	number   int   // copies in entries
	bytes    int64 // their encoded length
	full     bool  // something did not fit; said once
	sorted   imageapi.Sequence
	stale    bool             // sorted is out of date
	open     map[key]struct{} // copies that the hub has not recorded as published yet: their state is asked for
	arriving map[key]struct{} // named by the snapshot that is coming in; nil outside of one
	revision uint64
	version  uint64        // rises with every change
	changed  chan struct{} // received by whoever writes it down
}

// entry is one image.
type entry struct {
	goals  map[image.StoreID]*agentv1.DesiredReplica
	shown  *imageapi.Image // nil when it has to be made again
	states string          // of the copies that are not recorded, as shown
}

// NewCatalogue returns an empty catalogue of a site.
func NewCatalogue(site image.SiteID, copies Copies, log hclog.Logger) *Catalogue {
	return &Catalogue{
		site: site, copies: copies, log: log, entries: map[image.ID]*entry{}, open: map[key]struct{}{}, changed: make(chan struct{}, 1),
	}
}

// Apply takes over a message of desired state, which is shared and not changed. It returns at once.
func (c *Catalogue) Apply(d *agentv1.Desired) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !d.Snapshot && d.Revision != 0 && d.Revision <= c.revision {
		return
	}
	c.revision = d.Revision
	if d.Snapshot {
		c.arriving = map[key]struct{}{}
	}
	before := c.version
	for _, r := range d.Replicas {
		c.putLocked(r)
	}
	for _, r := range d.Removed {
		c.removeLocked(key{image.ID(r.ImageId), image.StoreID(r.StoreId)})
	}
	if c.arriving != nil && !d.More {
		for id, e := range c.entries {
			for store := range e.goals {
				if _, named := c.arriving[key{id, store}]; !named {
					c.removeLocked(key{id, store})
				}
			}
		}
		c.arriving, c.full = nil, false
	}
	if c.version != before {
		select {
		case c.changed <- struct{}{}:
		default:
		}
	}
}

// Offline says that the session has ended: a snapshot that was coming in will not be continued.
func (c *Catalogue) Offline() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.arriving, c.revision = nil, 0
}

// putLocked takes over one goal.
func (c *Catalogue) putLocked(d *agentv1.DesiredReplica) {
	id, err := image.ParseID("image_id", d.ImageId)
	k := key{id, image.StoreID(d.StoreId)}
	if err != nil || !served(d) {
		c.removeLocked(k)
		return
	}
	if c.arriving != nil {
		c.arriving[k] = struct{}{}
	}
	e := c.entries[id]
	if e != nil && proto.Equal(e.goals[k.store], d) {
		return
	}
	c.removeLocked(k)
	size := int64(proto.Size(d))
	if c.number >= maxCopies || c.bytes+size > maxBytes {
		if !c.full {
			c.full = true
			c.log.Error("more images than the site's catalogue holds; the hub answers for the rest", "copies", c.number, "bytes", c.bytes)
		}
		return
	}
	if e = c.entries[id]; e == nil {
		e = &entry{goals: map[image.StoreID]*agentv1.DesiredReplica{}}
		c.entries[id] = e
	}
	e.goals[k.store], e.shown = d, nil
	if d.Metadata.Location == "" {
		c.open[k] = struct{}{}
	}
	c.number++
	c.bytes += size
	c.touchLocked()
}

// served reports whether the site answers for an image of which it has or gets such a copy.
func served(d *agentv1.DesiredReplica) bool {
	switch d.Goal {
	case agentv1.Goal_GOAL_PRESENT, agentv1.Goal_GOAL_HOLD, agentv1.Goal_GOAL_ADOPTED:
	default:
		return false
	}
	switch imageapi.ImageStatus(d.GetMetadata().GetStatus()) {
	case imageapi.Active, imageapi.Deactivated:
		return true
	}
	return false
}

// removeLocked forgets a copy.
func (c *Catalogue) removeLocked(k key) {
	e := c.entries[k.image]
	if e == nil || e.goals[k.store] == nil {
		return
	}
	c.number--
	c.bytes -= int64(proto.Size(e.goals[k.store]))
	delete(e.goals, k.store)
	delete(c.open, k)
	e.shown = nil
	if len(e.goals) == 0 {
		delete(c.entries, k.image)
	}
	c.touchLocked()
}

func (c *Catalogue) touchLocked() {
	c.version++
	c.stale = true
}

// Image returns an image, nil when the site has nothing of it. A copy that the site has published itself counts before the
// hub has recorded it.
func (c *Catalogue) Image(id image.ID) *imageapi.Image {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[id]
	if e == nil {
		return nil
	}
	c.refreshLocked(id, e)
	return e.shown
}

// Images returns all images.
func (c *Catalogue) Images() imageapi.Sequence {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := range c.open {
		c.refreshLocked(k.image, c.entries[k.image])
	}
	if !c.stale {
		return c.sorted
	}
	images := make([]*imageapi.Image, 0, len(c.entries))
	for id, e := range c.entries {
		c.refreshLocked(id, e)
		images = append(images, e.shown)
	}
	c.sorted, c.stale = imageapi.NewSequence(images), false
	return c.sorted
}

// Published reports whether the site has data of the image to read.
func (c *Catalogue) Published(id image.ID) bool {
	img := c.Image(id)
	return img != nil && len(img.Stores) > 0
}

// OnTheWay returns the stores to which an image is on its way while the site has no copy that is published, sorted: those where
// the hub does not let it go first already.
func (c *Catalogue) OnTheWay(id image.ID) []image.StoreID {
	if c.Published(id) {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[id]
	if e == nil {
		return nil
	}
	return slices.DeleteFunc(sortedStores(e), func(store image.StoreID) bool {
		d := e.goals[store]
		return d.Goal == agentv1.Goal_GOAL_ADOPTED || d.Priority == agentv1.Priority_PRIORITY_HIGH
	})
}

// refreshLocked makes what is shown of an image, if it has to be made again.
func (c *Catalogue) refreshLocked(id image.ID, e *entry) {
	states := c.statesLocked(id, e)
	if e.shown == nil || e.states != states {
		e.shown, e.states = c.present(id, e), states
		c.stale = true
	}
}

// statesLocked says in one string how far the copies are that the hub has not recorded; empty when it has recorded all.
func (c *Catalogue) statesLocked(id image.ID, e *entry) string {
	var out []byte
	for _, store := range sortedStores(e) {
		if e.goals[store].Metadata.Location == "" {
			state, _ := c.copies.State(id, store)
			out = append(out, byte('a'+state))
		}
	}
	return string(out)
}

func sortedStores(e *entry) []image.StoreID {
	out := make([]image.StoreID, 0, len(e.goals))
	for store := range e.goals {
		out = append(out, store)
	}
	slices.Sort(out)
	return out
}
