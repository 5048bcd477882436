package reconcile

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/staging"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/retry"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Staging is the part of the staging area that follows from the state of the replicas.
type Staging interface {
	SetNeeds(map[image.ID]staging.Need)
	// Wants returns the contents that a reader waits for or waited for just now.
	Wants() []image.ID
	WantsChanged() <-chan struct{}
	Contents() []staging.Info
	// Has reports whether a content is there and complete.
	Has(image.ID) bool
	Forget(image.ID)
}

// imageNeed is what one image means for the staging area.
type imageNeed struct {
	content  image.ID // empty: none
	incoming image.ID // content that the first one is being made of; every byte of it is needed
	need     staging.Need
	site     image.SiteID   // where the content can be read; empty: nowhere now
	offer    *agentv1.Offer // how
}

// needOf derives an image's need from its records and its sites.
func needOf(a Aggregate, w World) imageNeed {
	content := a.Image.GetContent()
	if content == nil || a.Image.Status == storev1.ImageStatus_IMAGE_STATUS_DELETED {
		return imageNeed{}
	}
	n := imageNeed{content: image.ID(content.Id), incoming: image.ID(a.Image.Incoming.GetId())}
	var source *storev1.Replica
	// Chunks that the central store has written, and the store that is furthest: the one that counts if central has failed.
	safe, furthest, central := 0, 0, false
	for _, r := range a.Replicas {
		s := image.StoreID(r.StoreId)
		view := w.Stores[s]
		switch {
		case r.Removal != storev1.Removal_REMOVAL_UNSPECIFIED:
		case r.Adopted && r.Phase != storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE: // is never filled
		case r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE:
			n.need.PinFrom = staging.Unpinned
			if view.sends() && content.Complete && (source == nil || s == w.Central) {
				source = r
			}
		case r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_FAILED:
		default:
			if view.Online && !held(r) {
				n.need.Fills++
			}
			written := contiguous(w.Observed[s], content.Id)
			furthest = max(furthest, written)
			if s == w.Central {
				safe, central = written, true
			}
		}
	}
	if !central {
		safe = furthest
	}
	n.need.PinFrom = max(n.need.PinFrom, safe)
	if source != nil {
		n.need.HasSource = true
		n.site = w.Stores[image.StoreID(source.StoreId)].Site
		n.offer = &agentv1.Offer{ImageId: a.Image.Id, StoreId: source.StoreId, Content: &agentv1.Content{
			ContentId: content.Id, SizeBytes: content.SizeBytes, ManifestDigest: content.ManifestDigest,
		}}
	}
	return n
}

// sends reports whether a site can send what the store holds.
func (v StoreView) sends() bool { return v.Online && v.Healthy && v.Stopped == "" }

// contiguous returns how many chunks from the start a site has written of a content.
func contiguous(o *agentv1.ObservedReplica, content string) int {
	if o == nil || o.ContentId != content {
		return 0
	}
	return int(o.Progress.GetChunksContiguous())
}

// Needs collects what all images need and tells the staging area and the sessions.
type Needs struct {
	// Collect is how often contents are looked for that no image names; those seen twice go. Set it before Run.
	Collect time.Duration

	records catalog.Records
	area    Staging
	// offer says which copies each site should offer now.
	offer func(map[image.SiteID][]*agentv1.Offer)
	log   hclog.Logger
	dirty chan struct{}

	mu        sync.Mutex
	whole     bool // every image has been looked at
	needs     map[image.ID]imageNeed
	preferred map[image.ID][]*preference // by content, oldest first
}

// NewNeeds returns an empty collection. Run must be running.
func NewNeeds(records catalog.Records, area Staging, offer func(map[image.SiteID][]*agentv1.Offer), log hclog.Logger) *Needs {
	return &Needs{
		Collect: time.Minute, records: records, area: area, offer: offer, log: log,
		dirty: make(chan struct{}, 1), needs: map[image.ID]imageNeed{}, preferred: map[image.ID][]*preference{},
	}
}

// complete tells that set has been called for every image. Until then nothing is passed on: to the staging area a content
// that is not named is one that nobody needs, and it may hold the only copy.
func (n *Needs) complete() {
	n.mu.Lock()
	was := n.whole
	n.whole = true
	n.mu.Unlock()
	if !was {
		n.wake()
	}
}

func (n *Needs) wake() {
	select {
	case n.dirty <- struct{}{}:
	default:
	}
}

// set replaces the need of one image.
func (n *Needs) set(id image.ID, need imageNeed) {
	n.mu.Lock()
	old, had := n.needs[id]
	same := had && old.content == need.content && old.incoming == need.incoming && old.need == need.need && old.site == need.site && proto.Equal(old.offer, need.offer)
	if need.content == "" {
		same = !had
		delete(n.needs, id)
	} else {
		n.needs[id] = need
	}
	n.mu.Unlock()
	if !same {
		n.wake()
	}
}

const settle = 50 * time.Millisecond // changes within this time are passed on together

// Run passes needs on until ctx ends.
func (n *Needs) Run(ctx context.Context) error {
	tick := time.NewTicker(n.Collect)
	defer tick.Stop()
	strays := map[image.ID]bool{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.dirty:
			if retry.Sleep(ctx, settle) != nil {
				return nil
			}
		case <-n.area.WantsChanged():
		case <-tick.C:
			strays = n.forget(strays)
		}
		n.pass()
	}
}

// pass tells the staging area what is needed and the sites what to offer: what a reader waits for.
func (n *Needs) pass() {
	wanted := map[image.ID]bool{}
	for _, c := range n.area.Wants() {
		wanted[c] = true
	}
	needs := map[image.ID]staging.Need{}
	offers := map[image.SiteID][]*agentv1.Offer{}
	n.mu.Lock()
	if !n.whole {
		n.mu.Unlock()
		return
	}
	for _, id := range slices.Sorted(maps.Keys(n.needs)) {
		in := n.needs[id]
		needs[in.content] = in.need
		if in.incoming != "" {
			needs[in.incoming] = staging.Need{} // pinned
		}
		if in.offer != nil && wanted[in.content] {
			in.site, in.offer = n.source(in)
			offers[in.site] = append(offers[in.site], n.offered(in))
		}
	}
	n.mu.Unlock()
	n.area.SetNeeds(needs)
	n.offer(offers)
}

// offered returns the offer of an image. When the staging area has lost what it knew of the content, the site sends the
// manifest first.
func (n *Needs) offered(in imageNeed) *agentv1.Offer {
	if n.area.Has(in.content) {
		return in.offer
	}
	o := proto.CloneOf(in.offer)
	o.Manifest = true
	return o
}

// forget removes finished contents that no image has named twice in a row, and returns those it has seen once.
func (n *Needs) forget(before map[image.ID]bool) map[image.ID]bool {
	named := map[image.ID]bool{}
	for _, img := range n.records.Images() {
		named[image.ID(img.GetContent().GetId())] = true
		named[image.ID(img.GetIncoming().GetId())] = true
	}
	seen := map[image.ID]bool{}
	for _, c := range n.area.Contents() {
		switch {
		case named[c.ID] || !c.Complete && !c.Gone:
		case !before[c.ID]:
			seen[c.ID] = true
		default:
			n.area.Forget(c.ID)
			n.log.Info("content removed from the staging area", "content", string(c.ID))
		}
	}
	return seen
}
