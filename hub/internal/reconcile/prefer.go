package reconcile

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// preference is a reader's wish to have a content sent by a store.
type preference struct {
	site  image.SiteID
	store image.StoreID
}

// Prefer asks that a store at a site, which must hold a published copy, sends what the staging area lacks of a content,
// until release is called. Of several wishes for one content the oldest counts. It does not block. Whether the store can
// send is for the caller to watch.
func (n *Needs) Prefer(content image.ID, site image.SiteID, store image.StoreID) (release func()) {
	p := &preference{site, store}
	n.mu.Lock()
	n.preferred[content] = append(n.preferred[content], p)
	n.mu.Unlock()
	n.wake()
	return func() {
		n.mu.Lock()
		n.preferred[content] = slices.DeleteFunc(n.preferred[content], func(other *preference) bool { return other == p })
		if len(n.preferred[content]) == 0 {
			delete(n.preferred, content)
		}
		n.mu.Unlock()
		n.wake()
	}
}

// source returns who sends a content, and how it is told. Lock held.
func (n *Needs) source(in imageNeed) (image.SiteID, *agentv1.Offer) {
	wishes := n.preferred[in.content]
	if len(wishes) == 0 {
		return in.site, in.offer
	}
	offer := proto.CloneOf(in.offer)
	offer.StoreId = string(wishes[0].store)
	return wishes[0].site, offer
}
